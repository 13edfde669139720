"""Unseen data from the command line: set aside from a recording, or never recorded at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl as package
from gptfl.scores import pointwise
from gptfl.store.features import read_features, write_features
from gptfl.store.predictions import read_predictions
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.store.simulators import read_simulator
from tests.cli.conftest import Outcome
from tests.models import save_small
from tests.synthetic import synthetic

Command = Callable[..., Outcome]


def refuses(outcome: Outcome, code: int, *pieces: str) -> None:
    assert outcome.code == code, outcome
    (line,) = outcome.err.strip().split("\n")
    assert line.startswith("error: ")
    for piece in pieces:
        assert piece in line


def as_json(gptfl: Command, space: Path, *arguments: str) -> dict[str, Any]:
    outcome = gptfl("simulate", "--workspace", str(space), "--json", *arguments)
    assert outcome.code == 0, outcome.err
    return dict(json.loads(outcome.out))


def lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def recorded(space: Path) -> Any:
    return read_dynamics(next(space.glob("*.dynamics.h5")))


def as_rows(examples: Any, **fields: Any) -> list[dict[str, Any]]:
    return [{"id": f"copy-{e.id}", "prompt": e.prompt, "target": e.target, **fields} for e in examples]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    dynamics, features = synthetic(10, test=12, every=1)
    write_dynamics(folder / "made.dynamics.h5", dynamics)
    write_features(folder / "made.synthetic.features.h5", features)
    return folder


@pytest.fixture
def made(made_once: Path, tmp_path: Path) -> Path:
    """A workspace with a synthetic recording and its features."""
    return Path(shutil.copytree(made_once, tmp_path, dirs_exist_ok=True))


def test_a_simulator_tells_what_it_has_not_seen(gptfl: Command, made: Path) -> None:
    outcome = gptfl("fit", "--unseen", "test", "--set", "epochs=5", "--workspace", str(made))
    assert outcome.code == 0, outcome.err
    assert "set aside as unseen: 3 of 12 test examples" in outcome.err
    kept = read_simulator(next(made.glob("*.simulator.h5"))).info["unseen"]
    assert (kept["side"], len(kept["test"]), kept["train"]) == ("test", 3, [])
    document = as_json(gptfl, made)
    unseen = [row["id"] for row in document["test"] if row["fitted"] == "unseen"]
    assert unseen == kept["test"]
    assert {row["fitted"] for row in document["test"]} == {"seen", "unseen"}
    predicted = read_predictions(Path(document["predictions"])).values
    runs = np.stack([run.metrics["loss"] for run in recorded(made).with_role("test")])
    places = [row["fitted"] == "unseen" for row in document["test"]]
    for name, chosen in (("unseen", np.array(places)), ("seen", ~np.array(places))):
        group = document["groups"][name]
        mine, theirs = predicted[:, :, chosen], runs[:, :, chosen]
        assert group["count"] == chosen.sum()
        assert group["mse"] == pytest.approx(pointwise.all_steps_mse(mine, theirs).mean())
        assert group["rho"] == pytest.approx(pointwise.final_spearman(mine, theirs).mean())
    shown = gptfl("simulate", "--workspace", str(made))
    assert "(unseen)" in shown.out
    assert [line.split()[0] for line in shown.out.splitlines() if "final ρ" in line] == ["seen", "unseen"]


def test_nothing_is_marked_where_all_was_seen(gptfl: Command, made: Path) -> None:
    package.fit("mean-run", workspace=made)
    document = as_json(gptfl, made)
    assert {row["fitted"] for row in document["test"]} == {"seen"}
    assert document["groups"] == {}


def test_an_unseen_training_example_is_reported(gptfl: Command, made: Path) -> None:
    package.fit("gptfluence", workspace=made, settings={"epochs": 5}, unseen="train")
    held_out = read_simulator(next(made.glob("*.simulator.h5"))).info["unseen"]["train"]
    (made / "ids.txt").write_text("\n".join([*held_out[:2], "train-0"]))
    assert "train-0" not in held_out
    outcome = gptfl("simulate", "--subset", str(made / "ids.txt"), "--workspace", str(made))
    assert outcome.code == 0, outcome.err
    assert "2 of the 3 examples trained on are ones that the simulator was not fitted to" in outcome.err


def test_compare_scores_what_was_set_aside(gptfl: Command, made: Path) -> None:
    outcome = gptfl(
        "compare", "--unseen", "both", "--unseen-share", "0.3", "--estimator", "gptfluence:epochs=5", "--json",
        "--workspace", str(made),
    )  # fmt: skip
    document = json.loads(outcome.out)
    assert (len(document["unseen"]["train"]), len(document["unseen"]["test"]), document["unseen"]["share"]) == (
        7,
        4,
        0.3,
    )
    assert all(row["scores"] for row in document["estimators"])
    table = gptfl("compare", "--unseen", "test", "--estimator", "gptfluence:epochs=5", "--workspace", str(made))
    assert "3 unseen test examples" in " ".join(table.out.split())
    refuses(
        gptfl("compare", "--unseen", "test", "--sweep", "order=1,2", "--workspace", str(made)), 2, "--unseen", "--sweep"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "pieces"),
    [
        (("fit", "--unseen", "foo"), 2, ("--unseen 'foo'", "train, test, both")),
        (("compare", "--unseen", "tests"), 2, ("--unseen 'tests'",)),
        (("fit", "--unseen", "test", "--unseen-share", "0"), 2, ("--unseen-share is 0", "between 0 and 1")),
        (("compare", "--unseen", "test", "--unseen-share", "1"), 2, ("--unseen-share is 1",)),
        (("fit", "--unseen", "test", "--unseen-share", "0.9"), 3, ("11 of 12 test examples", "smaller --unseen-share")),
        (("fit", "--unseen-share", "0.5"), 2, ("--unseen train|test|both",)),
        (("fit", "--unseen", "train", "--unseen-share", "0.9"), 3, ("smaller --unseen-share",)),
    ],
)
def test_what_makes_no_sense_is_one_line(gptfl: Command, made: Path, arguments: Any, code: int, pieces: Any) -> None:
    refuses(gptfl(*arguments, "--workspace", str(made)), code, *pieces)
    assert not list(made.glob("*.simulator.h5"))


def test_copies_of_recorded_examples_are_simulated_like_them(
    gptfl: Command, study: Path, neox: Path, tmp_path: Path
) -> None:
    dynamics = recorded(study)
    test = lines(tmp_path / "test.jsonl", *as_rows(dynamics.test))
    train = lines(tmp_path / "train.jsonl", *as_rows(dynamics.pool))
    ids = [example.id for example in dynamics.pool[:5]]
    (tmp_path / "old.txt").write_text("\n".join(ids))
    (tmp_path / "new.txt").write_text("\n".join(f"copy-{id}" for id in ids))
    document = as_json(
        gptfl,
        study,
        "--new-test",
        test,
        "--new-train",
        train,
        "--model",
        str(neox),
        "--subset",
        str(tmp_path / "new.txt"),
    )
    plain = as_json(gptfl, study, "--subset", str(tmp_path / "old.txt"))
    assert [row["fitted"] for row in document["test"]] == ["seen"] * 6 + ["new"] * 6
    assert [row["id"] for row in document["test"]][6:] == [f"copy-{e.id}" for e in dynamics.test]
    expected = [row["predicted"] for row in plain["test"]]
    np.testing.assert_allclose([row["predicted"] for row in document["test"]], expected * 2, rtol=1e-4)
    found = read_predictions(Path(document["predictions"]))
    first = np.mean([run.metrics["loss"][0] for run in dynamics.runs], axis=0)
    np.testing.assert_allclose(found.values[0, 0], np.tile(first, 2), rtol=1e-5)
    assert found.settings["new_test"] == [f"copy-{e.id}" for e in dynamics.test]
    assert found.batches.min() == 12
    held = as_json(gptfl, study, "--new-test", test, "--model", str(neox))
    assert [row["recorded"] is None for row in held["test"]] == [False] * 6 + [True] * 6
    # Against what the simulator itself says of the average run.
    assert all(row["change"] is not None for row in held["test"])


def test_first_scores_of_the_file_count_before_measured_ones(
    gptfl: Command, study: Path, tmp_path: Path, neox: Path
) -> None:
    dynamics = recorded(study)
    rows = as_rows(dynamics.test[:2])
    rows[0]["first"] = {"loss": 1.25}
    path = lines(tmp_path / "test.jsonl", *rows)
    document = as_json(gptfl, study, "--new-test", path, "--model", str(neox))
    first = read_predictions(Path(document["predictions"])).values[0, 0, 6:]
    measured = dynamics.runs[0].metrics["loss"][0, 1]
    np.testing.assert_allclose(first, [1.25, measured], rtol=1e-5)
    refuses(
        gptfl("simulate", "--new-test", path, "--workspace", str(study)),
        3, f"copy-{dynamics.test[1].id}", "has no first loss", "'first'", "--model",
    )  # fmt: skip


def test_another_model_than_the_recorded_one_is_refused(gptfl: Command, study: Path, tmp_path: Path) -> None:
    other = save_small(tmp_path / "other", "gpt-neox", width=16)
    path = lines(tmp_path / "test.jsonl", *as_rows(recorded(study).test[:1]))
    outcome = gptfl("simulate", "--new-test", path, "--model", str(other), "--workspace", str(study))
    refuses(outcome, 3, str(other), "has other weights", "give the model that was recorded")


@pytest.mark.parametrize(
    ("arguments", "code", "pieces"),
    [
        (("--new-train", "{new}"), 2, ("--new-train", "--subset")),
        (("--model", "tiny"), 2, ("--model tiny", "--new-test")),
        (("--new-test", "absent.jsonl"), 3, ("--new-test absent.jsonl is no file",)),
        (("--new-test", "{bad}"), 3, ("bad.jsonl, line 2", "is no JSON")),
        (("--new-test", "{clash}"), 3, ("clash.jsonl, line 1", "the recording has an example", "another id")),
        (("--new-test", "{new}", "--features", "absent.h5"), 3, ("absent.h5",)),
    ],
)
def test_wrong_new_examples_are_one_line(
    gptfl: Command, study: Path, tmp_path: Path, arguments: Any, code: int, pieces: Any
) -> None:
    row = {"id": "x", "prompt": "who", "target": " it", "first": 1.0}
    files = {
        "new": lines(tmp_path / "new.jsonl", row),
        "clash": lines(tmp_path / "clash.jsonl", {**row, "id": recorded(study).test[0].id}),
        "bad": str(tmp_path / "bad.jsonl"),
    }
    Path(files["bad"]).write_text(json.dumps(row) + "\n{no\n")
    given = [argument.format(**files) for argument in arguments]
    refuses(gptfl("simulate", *given, "--workspace", str(study)), code, *pieces)


def test_who_was_not_fitted_to_generalise_refuses_new_examples(gptfl: Command, study: Path, tmp_path: Path) -> None:
    path = lines(tmp_path / "new.jsonl", {"id": "x", "prompt": "who", "target": " it", "first": 1.0})
    simulator = next(study.glob("*.gptfluence.*simulator.h5"))
    features = next(study.glob("*.features.h5"))
    features.rename(tmp_path / "moved.features.h5")
    refuses(
        gptfl("simulate", "--new-test", path, "--simulator", str(simulator)),
        3, "holds no features", "tfidf-svd", "--features", "gptfl fit again",
    )  # fmt: skip
    named = ("--features", str(tmp_path / "moved.features.h5"))
    assert gptfl("simulate", "--new-test", path, "--simulator", str(simulator), *named).code == 0
    found = read_features(tmp_path / "moved.features.h5")
    vectors = found.sets["text"]
    write_features(
        features,
        type(found)(
            found.encoder, found.identity, found.examples, {"text": type(vectors)(vectors.train + 1, vectors.test)}
        ),
    )
    refuses(
        gptfl("simulate", "--new-test", path, "--simulator", str(simulator)),
        3,
        "like those that the simulator was fitted on",
    )


def test_vectors_that_cannot_be_made_again_are_refused(gptfl: Command, made: Path, tmp_path: Path) -> None:
    package.fit("gptfluence", workspace=made, settings={"epochs": 2})
    path = lines(tmp_path / "new.jsonl", {"id": "x", "prompt": "who", "target": " it", "first": 1.0})
    refuses(
        gptfl("simulate", "--new-test", path, "--workspace", str(made)),
        3,
        "'synthetic'",
        "no encoder that is installed",
    )
    # Whoever needs no vectors answers all the same.
    package.fit("mean-run", workspace=made)
    document = as_json(gptfl, made, "--new-test", path, "--estimator", "mean-run")
    assert (document["test"][-1]["id"], document["test"][-1]["fitted"]) == ("x", "new")
    assert document["test"][-1]["change"] == pytest.approx(0.0)


def test_an_encoder_of_other_settings_is_refused(gptfl: Command, study: Path, tmp_path: Path) -> None:
    path = next(study.glob("*.features.h5"))
    found = read_features(path)
    write_features(path, type(found)(found.encoder, {**found.identity, "version": 0}, found.examples, found.sets))
    package.fit(workspace=study, settings={"epochs": 2})
    new = lines(tmp_path / "new.jsonl", {"id": "x", "prompt": "who", "target": " it", "first": 1.0})
    refuses(gptfl("simulate", "--new-test", new, "--workspace", str(study)), 3, "tfidf-svd", "not the one any more")
