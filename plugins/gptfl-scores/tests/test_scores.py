"""Scores from elsewhere: first order in a plain loop, every format, ids, and what can't be read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from safetensors.numpy import save_file

from gptfl.api.compare import compare
from gptfl.core import FIT, TEST, VALIDATION
from gptfl.plugins import DataError, FitData, Query, UsageError
from gptfl.store.recordings import write_dynamics
from gptfl.testing import check_estimator
from gptfl.testing.synthetic import make_dynamics
from gptfl_scores.estimator import Scores
from gptfl_scores.readers import read_matrix
from tests.synthetic import LOSS, synthetic

POOL, TESTS = 24, 8
MATRIX = np.random.default_rng(0).normal(size=(POOL, TESTS))


@pytest.fixture
def recorded():
    dynamics, features = synthetic(20, class_effect=0.0)
    vectors = features.sets["vectors"]
    return dynamics, vectors.train.astype(np.float64) @ vectors.test.T.astype(np.float64)


def data_of(dynamics) -> FitData:
    return FitData(dynamics.pool, dynamics.test, LOSS, dynamics.with_role(FIT), dynamics.with_role(VALIDATION))


def query_of(dynamics) -> Query:
    runs = dynamics.with_role(TEST)
    return Query(
        np.stack([run.curriculum.batches for run in runs]),
        np.stack([run.curriculum.learning_rates for run in runs]),
        runs[0].steps,
        np.stack([run.metrics["loss"][0] for run in runs]),
    )


def saved(folder: Path, values: np.ndarray = MATRIX) -> str:
    np.save(folder / "scores.npy", values)
    return str(folder / "scores.npy")


def by_loop(matrix, run, steps):
    """What step sizes times mean scores add up to before each of the steps."""
    rows, total = {0: np.zeros(matrix.shape[1])}, np.zeros(matrix.shape[1])
    for step, (members, rate) in enumerate(zip(run.curriculum.batches, run.curriculum.learning_rates, strict=True), 1):
        here = [member for member in members if member >= 0]
        for member in here:
            total = total + rate / len(here) * matrix[member]
        rows[step] = total
    return np.stack([rows[int(step)] for step in steps])


def test_every_promise_of_an_estimator_is_kept(tmp_path):
    dynamics = make_dynamics()
    path = saved(tmp_path, np.random.default_rng(1).normal(size=(len(dynamics.pool), len(dynamics.test))))
    for settings in ({}, {"anchor": "first", "scale": -0.5}, {"sign": "hurts"}):
        check_estimator(Scores, dynamics=dynamics, file=path, **settings)


@pytest.mark.parametrize(("sign", "factor"), [("helps", -1), ("hurts", 1)])
def test_predictions_are_those_of_a_plain_loop(recorded, tmp_path, sign, factor):
    dynamics, matrix = recorded
    data, query = data_of(dynamics), query_of(dynamics)
    fitted = Scores(saved(tmp_path, matrix), sign=sign, scale=0.7).fit(data)
    learned = data.fit_runs + data.validation_runs
    steps = query.steps
    mean = np.mean([run.metrics["loss"] for run in learned], axis=0)
    usual = np.mean([by_loop(matrix, run, steps) for run in learned], axis=0)
    for run, values in zip(dynamics.with_role(TEST), fitted.predict(query).values, strict=True):
        expected = mean + factor * 0.7 * (by_loop(matrix, run, steps) - usual)
        np.testing.assert_allclose(values[1:], expected[1:], rtol=1e-9)
        np.testing.assert_array_equal(values[0], run.metrics["loss"][0])
    np.testing.assert_allclose(fitted.influence(), (0.7 if sign == "helps" else -0.7) * matrix)
    first = Scores(saved(tmp_path, matrix), sign=sign, scale=0.7, anchor="first").fit(data)
    for run, values in zip(dynamics.with_role(TEST), first.predict(query).values, strict=True):
        expected = run.metrics["loss"][0] + factor * 0.7 * by_loop(matrix, run, steps)
        np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_where_tokens_are_counted_an_example_has_its_share_of_a_batch(recorded, tmp_path):
    dynamics, matrix = recorded
    tokens = 1 + np.arange(POOL) % 5
    pool = tuple(replace(one, weight=int(count)) for one, count in zip(dynamics.pool, tokens, strict=True))
    counted = replace(dynamics, pool=pool)
    fitted = Scores(saved(tmp_path, matrix), scale=1.0, anchor="first").fit(data_of(counted))
    query = query_of(dynamics)
    for run, values in zip(dynamics.with_role(TEST), fitted.predict(query).values, strict=True):
        expected, rows = run.metrics["loss"][0].copy(), [run.metrics["loss"][0]]
        for members, rate in zip(run.curriculum.batches, run.curriculum.learning_rates, strict=True):
            expected = expected - rate * (tokens[members] @ matrix[members]) / tokens[members].sum()
            rows.append(expected)
        np.testing.assert_allclose(values, np.stack(rows)[query.steps], rtol=1e-9)
    again = Scores(**fitted.settings()).restore(fitted.state())
    np.testing.assert_array_equal(again.predict(query).values, fitted.predict(query).values)


def test_the_fitted_scale_is_least_squares(recorded, tmp_path):
    dynamics, matrix = recorded
    data = data_of(dynamics)
    fitted = Scores(saved(tmp_path, matrix), sign="hurts").fit(data)
    learned = data.fit_runs + data.validation_runs
    steps = learned[0].steps
    moved = np.stack([by_loop(matrix, run, steps) for run in learned])
    truth = np.stack([run.metrics["loss"] for run in learned])
    moved, truth = (one - one.mean(axis=0) for one in (moved, truth))
    expected = np.linalg.lstsq(moved[:, 1:].reshape(-1, 1), truth[:, 1:].reshape(-1), rcond=None)[0][0]
    assert fitted.scale_ == pytest.approx(expected)
    # The law's own scores explain next to everything that runs differ in.
    assert expected == pytest.approx(0.3 / 6 / learned[0].curriculum.learning_rates.sum(), rel=0.05)
    turned = Scores(saved(tmp_path, -matrix), sign="hurts").fit(data)
    assert turned.scale_ == pytest.approx(-fitted.scale_)
    assert "it is negative" in turned.notes_[0]


def test_scores_that_tell_runs_apart_by_nothing_have_no_scale(recorded, tmp_path):
    dynamics, matrix = recorded
    with pytest.raises(DataError, match="foretells no difference between the runs to fit"):
        Scores(saved(tmp_path, np.zeros_like(matrix))).fit(data_of(dynamics))


def bergson(folder: Path, values: np.ndarray, **changed) -> Path:
    folder.mkdir(exist_ok=True)
    count = values.shape[1]
    fields = [(f"{name}_{k}", kind) for k in range(count) for name, kind in (("score", "<f4"), ("written", "?"))]
    rows = np.zeros(len(values), dtype=np.dtype(fields, align=True))
    for k in range(count):
        rows[f"score_{k}"], rows[f"written_{k}"] = values[:, k], True
    rows.tofile(folder / "scores.bin")
    layout = {
        "names": list(rows.dtype.names),
        "formats": [rows.dtype.fields[name][0].str for name in rows.dtype.names],
        "offsets": [rows.dtype.fields[name][1] for name in rows.dtype.names],
        "itemsize": rows.dtype.itemsize,
    }
    info = {"attribute_tokens": False, "num_items": len(values), "num_rows": len(values), "num_scores": count}
    (folder / "info.json").write_text(json.dumps({**info, "dtype": layout, **changed}))
    return folder


def test_each_format_gives_the_same_matrix(tmp_path):
    train, test = np.array([f"t{i}" for i in range(POOL)]), np.array([f"q{i}" for i in range(TESTS)])
    np.savez(tmp_path / "a.npz", scores=MATRIX, train_ids=train, test_ids=test)
    pairs = [(i, j) for i in range(POOL) for j in range(TESTS)]
    random = np.random.default_rng(1).permutation(len(pairs))
    table = {
        "train_id": [train[pairs[k][0]] for k in random],
        "test_id": [test[pairs[k][1]] for k in random],
        "score": [MATRIX[pairs[k]] for k in random],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    halves = np.ascontiguousarray(MATRIX.T, dtype=np.float32)
    save_file({"all_modules": halves}, tmp_path / "pairwise_scores.safetensors")
    save_file({"one": halves / 4, "two": 3 * halves / 4}, tmp_path / "modules.safetensors")
    exact, rounded = read_matrix(tmp_path / "a.npz"), MATRIX.astype(np.float32)
    np.testing.assert_array_equal(exact.values, MATRIX)
    assert (exact.rows, exact.columns) == (tuple(train), tuple(test))
    parquet = read_matrix(tmp_path / "a.parquet")
    order = [parquet.rows.index(name) for name in train], [parquet.columns.index(name) for name in test]
    np.testing.assert_array_equal(parquet.values[np.ix_(*order)], MATRIX)
    for path in (tmp_path / "pairwise_scores.safetensors", tmp_path):  # kronfluence's file, and its folder
        found = read_matrix(path)
        np.testing.assert_array_equal(found.values, rounded.T)
        assert found.train_rows is False
    np.testing.assert_allclose(read_matrix(tmp_path / "modules.safetensors").values, rounded.T, rtol=1e-6)
    np.testing.assert_array_equal(read_matrix(bergson(tmp_path / "b", MATRIX)).values, rounded)


def test_embeddings_score_by_their_cosines(tmp_path):
    train, test = MATRIX[:5, :3], MATRIX[5:9, :3]
    np.savez(tmp_path / "a.npz", train=train, test=test)
    expected = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in test] for a in train]
    np.testing.assert_allclose(read_matrix(tmp_path / "a.npz").values, expected)


def test_ids_decide_which_score_is_whose(recorded, tmp_path):
    dynamics, matrix = recorded
    data, query = data_of(dynamics), query_of(dynamics)
    usual = Scores(saved(tmp_path, matrix), scale=1.0).fit(data).predict(query).values
    random = np.random.default_rng(2)
    lines, columns = random.permutation(POOL), random.permutation(TESTS)
    moved = matrix[np.ix_(lines, columns)]
    train, test = [dynamics.pool[i].id for i in lines], [dynamics.test[j].id for j in columns]
    np.savez(tmp_path / "a.npz", scores=moved, train_ids=np.array(train), test_ids=np.array(test))
    np.save(tmp_path / "turned.npy", moved.T)
    (tmp_path / "ids.json").write_text(json.dumps({"train": train, "test": test}))
    named = Scores(str(tmp_path / "a.npz"), scale=1.0).fit(data).predict(query).values
    beside = Scores(str(tmp_path / "turned.npy"), scale=1.0, ids=str(tmp_path / "ids.json")).fit(data)
    np.testing.assert_array_equal(named, usual)
    np.testing.assert_array_equal(beside.predict(query).values, usual)
    missing = {"train": ["other", *train[1:]], "test": test}
    (tmp_path / "ids.json").write_text(json.dumps(missing))
    with pytest.raises(DataError, match=f"no scores of training example '{train[0]}': score all that are recorded"):
        Scores(str(tmp_path / "turned.npy"), ids=str(tmp_path / "ids.json")).fit(data)
    (tmp_path / "ids.json").write_text(json.dumps({"train": [train[1], *train[1:]], "test": test}))
    with pytest.raises(DataError, match="twice"):
        Scores(str(tmp_path / "turned.npy"), ids=str(tmp_path / "ids.json")).fit(data)


def test_a_square_matrix_says_what_its_rows_are(tmp_path):
    dynamics, _ = synthetic(8, pool=8, test=8, subset=4)
    path = saved(tmp_path, MATRIX[:8])
    with pytest.raises(DataError, match=r"as high as wide.*add rows=train or rows=test"):
        Scores(path).fit(data_of(dynamics))
    ours = Scores(path, rows="train", scale=1.0).fit(data_of(dynamics))
    theirs = Scores(saved(tmp_path, MATRIX[:8].T), rows="test", scale=1.0).fit(data_of(dynamics))
    np.testing.assert_array_equal(ours.influence(), theirs.influence())


def test_another_file_under_the_same_name_is_another_estimator(recorded, tmp_path):
    dynamics, matrix = recorded
    first = Scores(saved(tmp_path, matrix)).settings()
    fitted = Scores(**first).fit(data_of(dynamics))
    second = Scores(saved(tmp_path, matrix + 1)).settings()
    assert first["digest"] != second["digest"]
    with pytest.raises(DataError, match="holds other scores than before: leave the setting digest out"):
        Scores(**first).fit(data_of(dynamics))
    (tmp_path / "scores.npy").unlink()
    again = Scores(**first).restore(fitted.state())  # a simulator needs no file
    np.testing.assert_array_equal(again.predict(query_of(dynamics)).values, fitted.predict(query_of(dynamics)).values)


def test_they_stand_in_the_table_beside_the_others(recorded, tmp_path):
    dynamics, matrix = recorded
    write_dynamics(tmp_path / "syn.dynamics.h5", dynamics)
    path = saved(tmp_path, -matrix)
    table = compare(dynamics=tmp_path / "syn.dynamics.h5", estimators=[f"scores:file={path}"], folds=4, figure=False)
    row = table.rows[-1]
    assert row.error is None
    assert row.scores["lds"].value > 0.9
    everything = compare(dynamics=tmp_path / "syn.dynamics.h5", figure=False)
    assert "has no scores to go by: name a file" in everything.left_out["scores"]


def spoilt(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that can't be scores, with what is said of them."""
    made = {}

    def put(name: str, message: str, write) -> None:
        write(folder / name)
        made[name] = (folder / name, message)

    put(
        "objects.npy",
        "can't be read",
        lambda path: np.save(path, np.array([[1, "a"]], dtype=object), allow_pickle=True),
    )
    put("nan.npy", "aren't finite", lambda path: np.save(path, np.array([[1.0, np.nan]])))
    put("flat.npy", "holds an array of float64", lambda path: np.save(path, np.ones(5)))
    put("words.npy", "holds an array of <U1", lambda path: np.save(path, np.array([["a"]])))
    put("cut.npy", "can't be read", lambda path: path.write_bytes(b"\x93NUMPY"))
    put("no.npz", "can't be read", lambda path: path.write_bytes(b"PK nothing"))
    put("other.npz", "holds neither 'scores' nor embeddings", lambda path: np.savez(path, a=np.ones((2, 2))))
    put("widths.npz", "of different lengths", lambda path: np.savez(path, train=np.ones((2, 2)), test=np.ones((2, 3))))
    put("ids.npz", "names 1 rows and has 2", lambda path: np.savez(path, scores=np.ones((2, 2)), train_ids=["a"]))
    put("no.safetensors", "can't be read as safetensors", lambda path: path.write_bytes(b"\x00" * 16))
    put("no.parquet", "can't be read as Parquet", lambda path: path.write_bytes(b"PAR1"))
    put("scores.csv", "is no file of scores that is known", lambda path: path.write_text("1,2"))
    put("empty", "is no folder of scores", lambda path: path.mkdir())
    made["gone.npy"] = (folder / "gone.npy", "can't be read")
    tokens = bergson(folder / "tokens", MATRIX, attribute_tokens=True)
    made["tokens"] = (tokens, "holds scores of single tokens")
    made["short"] = (bergson(folder / "short", MATRIX, num_rows=99), "bytes, not 99 rows")
    made["record"] = (bergson(folder / "record", MATRIX, dtype="O"), "doesn't describe 8 scores a row")
    made["bf16"] = (
        bergson(folder / "bf16", MATRIX, dtype=[["score_0", "bfloat16"]]),
        "score again with --precision fp32",
    )
    part = {"train_id": ["a", "a", "b"], "test_id": ["q", "r", "q"], "score": [1.0, 2.0, 3.0]}
    pyarrow.parquet.write_table(pyarrow.table(part), folder / "part.parquet")
    made["part.parquet"] = (folder / "part.parquet", "3 scores for 2 training and 2 test examples: give each pair once")
    return made


NAMES = (
    "objects.npy",
    "nan.npy",
    "flat.npy",
    "words.npy",
    "cut.npy",
    "no.npz",
    "other.npz",
    "widths.npz",
    "ids.npz",
    "no.safetensors",
    "no.parquet",
    "scores.csv",
    "empty",
    "gone.npy",
    "tokens",
    "short",
    "record",
    "bf16",
    "part.parquet",
)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_matrix_of_scores_is_refused_in_one_line(tmp_path, name):
    path, message = spoilt(tmp_path)[name]
    with pytest.raises(DataError, match=message) as caught:
        read_matrix(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_every_spoilt_file_is_tried(tmp_path):
    assert set(spoilt(tmp_path)) == set(NAMES)


def test_a_matrix_of_another_recording_is_refused(recorded, tmp_path):
    dynamics, _ = recorded
    with pytest.raises(DataError, match="holds 24 by 7 scores, and the recording has 24 training and 8 test examples"):
        Scores(saved(tmp_path, MATRIX[:, :7])).fit(data_of(dynamics))


def test_without_a_file_there_is_nothing_to_go_by():
    with pytest.raises(UsageError, match="has no scores to go by: name a file"):
        Scores(None)
