"""Makes the archive and what is expected of it: ``python -m tests.golden.make``, from the root of the repository.

Each file was written by the command line that ``commands`` has for it, on one processor's own kernels, with the
built-in model; then ``expected.json`` and ``options.json`` were read off the archive and the commands. The archive is there to
prove that what was written stays readable and keeps its identity, so it is made once: the script refuses to touch what is
there. ``--expected`` only writes ``expected.json`` and ``options.json`` anew, from the archive as it is: for a change that
is meant, such as a new option. ``--overwrite`` makes everything anew; all that the archive proved is then lost.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.golden import commands, contents, house
from tests.released import released, sketches

HERE = Path(__file__).parent
ARCHIVE = Path("archive")
DISTRIBUTIONS = ("gptfl", "gptfl-datamodels", "gptfl-simfluence", "gptfl-tracin")


def say(*words: Any) -> None:
    """Tell what is done."""
    print(*words, file=sys.stderr)  # noqa: T201


def call(words: list[str], beside: Path | None = None) -> None:
    """Run a command, and keep what it printed in a file, if one is named."""
    say("gptfl", *words)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        house.run(words)
    if beside is not None:
        beside.write_text(out.getvalue(), encoding="utf-8")


def make_archive() -> None:
    """Run every command; pictures are left out."""
    ARCHIVE.mkdir()
    make_recordings()
    for options in commands.FEATURIZE.values():
        call(commands.on_recording("featurize", options))
    for options in commands.FIT.values():
        call(commands.on_recording("fit", options))
    files = simulator_files()
    write_questions()
    for name, options in commands.questions().items():
        call([*commands.on_simulator("simulate", options, files), "--output", commands.answer(name)])
    make_tables(files)
    for path in ARCHIVE.rglob("*.png"):
        path.unlink()
    shutil.rmtree(ARCHIVE / "compared", ignore_errors=True)


def make_recordings() -> None:
    """Record, import and export."""
    for name in commands.COLLECT:
        if name != commands.INTERRUPTED:
            call(commands.collect(name))
            continue
        with house.interrupted(commands.RUNS_DONE), contextlib.suppress(Exception):
            call(commands.collect(name))
        if len(list(ARCHIVE.glob(f"{name}.dynamics.h5.runs/run-*.h5"))) != commands.RUNS_DONE - 1:
            sys.exit(f"the recording {name} was not interrupted as it should be")
    released(ARCHIVE / "released", runs=7, steps=4, pool=8, test=4)
    sketches(ARCHIVE / "sketches.npz", pool=8, test=4)
    make_exports()
    for name in commands.IMPORT:
        call(commands.import_(name))


def make_exports() -> None:
    """Write recordings in the other formats."""
    for target, options in commands.EXPORT.items():
        call([*commands.on_recording("export", options), "--to", target])


def make_tables(files: dict[str, str]) -> None:
    """Everything that is no HDF5."""
    for name, options in commands.COMPARE.items():
        call([*commands.on_recording("compare", options), "--output", str(ARCHIVE / name)])
    for name, options in commands.RANK.items():
        call([*commands.on_simulator("rank", options, files), "--output", str(ARCHIVE / name)])
    for name, options in commands.SELECT.items():
        words = [*commands.on_simulator("select", options, files), "--output", str(ARCHIVE / name), "--json"]
        call(words, ARCHIVE / Path(name).with_suffix(".json"))
    for name, options in commands.VERIFY.items():
        call([*commands.on_simulator("verify", options, files), "--output", str(ARCHIVE / name), "--device", "cpu"])
    for name, options in commands.STUDIES.items():
        call([*commands.on_simulator(name, options, files), "--device", "cpu"])


def simulator_files() -> dict[str, str]:
    """Where the simulator of each fit lies: at the end of its name is its key."""
    made = {contents.about_simulator(path)["key"]: str(path) for path in sorted(ARCHIVE.glob("*.simulator.h5"))}
    return {
        name: made[house.key_of_fit(commands.on_recording("fit", options))] for name, options in commands.FIT.items()
    }


def write_questions() -> None:
    """Files of ids, batches, scores and new examples of the recording that most simulators are of."""
    recording = ARCHIVE / "along.dynamics.h5"
    pool, test = contents.ids(recording)
    batches, steps, loss = contents.recorded_scores(recording, 3, "loss")
    subset = [pool[place] for place in (0, 2, 3, 5, 8, 11)]
    (ARCHIVE / "subset.txt").write_text("\n".join(["# a subset", *subset]) + "\n", encoding="utf-8")
    (ARCHIVE / "tests.txt").write_text("\n".join(test[:3]) + "\n", encoding="utf-8")
    (ARCHIVE / "with-new.txt").write_text("\n".join([*subset[:4], "new-a", "new-b"]) + "\n", encoding="utf-8")
    write_lines(ARCHIVE / "curriculum.jsonl", [[pool[place] for place in batch if place >= 0] for batch in batches])
    scores = [
        {"step": step, "id": test[column], "value": round(float(loss[row, column]), 4)}
        for row, step in enumerate(steps[:3])
        for column in range(len(test))
    ]
    write_lines(ARCHIVE / "observed.jsonl", scores)
    prompts = (
        "Would Ada lend me the ladder?",
        "What does the baker put a ladder in?",
        "What does Hugo pay for a ladder?",
    )
    answers = (" yes", " a red bag", " two coins")
    rows = [{"prompt": prompt, "target": target} for prompt, target in zip(prompts, answers, strict=True)]
    write_lines(
        ARCHIVE / "new-train.jsonl", [{"id": f"new-{letter}", **row} for letter, row in zip("ab", rows, strict=False)]
    )
    write_lines(ARCHIVE / "new-test.jsonl", [{"id": "new-t", **rows[2], "first": {"loss": 2.5}}])


def write_lines(path: Path, rows: list[Any]) -> None:
    """One JSON value a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def expected(files: dict[str, str]) -> dict[str, Any]:
    """All that must stay as it is, read off the archive and the commands."""
    recordings = (*commands.COLLECT, *commands.IMPORT)
    paths = {name: ARCHIVE / f"{name}.dynamics.h5" for name in recordings}
    composed = {name: vars(house.planned(commands.collect(name))) for name in (*commands.COLLECT, *commands.COMPOSED)}
    versions = {name: version(name) for name in DISTRIBUTIONS}
    return {
        "versions": versions,
        "settings": {name: contents.settings_json(path) for name, path in paths.items()},
        "recordings": {name: contents.about_recording(path) for name, path in paths.items()},
        "runs": {str(path): contents.about_run(path) for path in sorted(ARCHIVE.glob("*.runs/*.h5"))},
        "first scores": {str(path): contents.first_scores(path) for path in (paths["along"], paths["plain"])},
        "planned": composed,
        "features": {str(path): contents.about_features(path) for path in sorted(ARCHIVE.glob("*.features.h5"))},
        "files": files,
        "simulators": {name: contents.about_simulator(Path(path)) for name, path in files.items()},
        "predictions": usual_places(files),
        "inspected": {path: inspected(path) for path in commands.inspected(files)},
    }


def usual_places(files: dict[str, str]) -> dict[str, str]:
    """Where the predictions for each question lie unless given."""
    questions = commands.questions()
    return {
        name: house.predicted(commands.on_simulator("simulate", options, files))[0]
        for name, options in questions.items()
    }


def inspected(path: str) -> dict[str, str]:
    """What ``gptfl inspect`` tells of a file."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        house.run(["inspect", "--json", path])
    document: dict[str, str] = json.loads(out.getvalue())
    return document


def write_json(name: str, value: Any) -> None:
    """Write what is expected, readable in a diff."""
    (HERE / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Make what isn't there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--expected", action="store_true", help="only write the two JSON files, from the archive as it is"
    )
    parser.add_argument("--overwrite", action="store_true", help="make the archive anew, too")
    arguments = parser.parse_args()
    os.chdir(HERE)
    os.environ.pop("GPTFL_WORKSPACE", None)
    if not arguments.expected:
        if ARCHIVE.exists() and not arguments.overwrite:
            sys.exit(f"{HERE / ARCHIVE} is there, and is not made anew: it proves what was written once stays readable")
        shutil.rmtree(ARCHIVE, ignore_errors=True)
        make_archive()
    write_json("options.json", house.options())
    write_json("expected.json", expected(simulator_files()))
    for path in ARCHIVE.glob(".lock*"):
        path.unlink()


if __name__ == "__main__":
    main()
