"""A page of studies: commands whose raw output is kept as JSON, and tables that are rendered from it and nothing else."""

import argparse
import itertools
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCAL = frozenset({"figure", "simulator", "text"})
"""Parts of a result that are of one machine (paths) or of a data set (texts)."""
SCORES = {"mse": "MSE", "mae": "MAE", "rho": "final ρ", "lds": "LDS", "skill": "skill"}
MODEL = "smollm2-135m-instruct-q4"
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Study:
    """Commands whose outputs make one table; ``{raw}`` stands for the page's folder of results, ``{data}`` for the data.

    The commands are carried out for every combination of values in ``loops``, in which ``$NAME`` stands for a value.
    """

    name: str
    commands: tuple[str, ...]
    results: tuple[str, ...] = ()
    render: Callable[[Mapping[str, Any]], str] = lambda found: ""
    loops: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def expanded(self) -> list[str]:
        """Every command to carry out, in order."""
        made = []
        for values in itertools.product(*self.loops.values()):
            for command in self.commands:
                for name, value in zip(self.loops, values, strict=True):
                    command = command.replace(f"${name}", value)
                made.append(command)
        return made


@dataclass
class Page:
    """A Markdown page, the folder beside it that holds its results, and its studies in order."""

    path: Path
    raw: Path
    studies: tuple[Study, ...]

    def found_for(self, study: Study) -> dict[str, Any]:
        """What the study's commands have left so far."""
        paths = {name: self.raw / f"{name}.json" for name in study.results}
        return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}

    def rendered(self, study: Study) -> str:
        """The study's commands and its table, as the page has them."""
        folder = f"docs/{self.raw.name}"
        begin = [f"for {name} in {' '.join(values)}; do" for name, values in study.loops.items()]
        ends = ["; ".join(["done"] * len(begin))] if begin else []
        commands = "\n".join([*begin, *(spelled(command, folder) for command in study.commands), *ends])
        found = self.found_for(study)
        missing = [name for name in study.results if name not in found]
        parts = [f"```sh\n{commands}\n```"]
        if found:
            parts.append(study.render(found))
            parts += [
                f"![{name}]({self.raw.name}/{name}.png)" for name in found if (self.raw / f"{name}.png").is_file()
            ]
        if missing:
            parts.append(f"Not run: {', '.join(missing)}.")
        elif study.results:
            parts.append("Raw: " + ", ".join(f"[{name}]({self.raw.name}/{name}.json)" for name in found) + ".")
        return "\n\n".join(parts)

    def earlier(self) -> str:
        """One sentence on the results whose intervals were made before these were mended; empty without any."""
        old = [name for study in self.studies for name, result in self.found_for(study).items() if is_earlier(result)]
        if not old:
            return ""
        known = [name for study in self.studies for name, result in self.found_for(study).items() if intervals(result)]
        which = "of skill, LDS and squared error" if len(old) == len(known) else f"of {', '.join(old)}"
        return (
            f"The intervals {which} below were made by an earlier `compare`, as percentiles of draws: those of LDS lie "
            "too low and hold the true value in far fewer than 95 % of cases, those of the others in about 90 % "
            "([trust.md](trust.md#intervals-of-scores)); what would mend them isn't in the results that were kept."
        )

    def with_tables(self, text: str) -> str:
        """The page's text with every study's block as it is now."""
        begin, end = "<!-- intervals -->", "<!-- end of intervals -->"
        if begin in text:
            pattern = re.compile(re.escape(begin) + r"\n.*?" + re.escape(end), re.DOTALL)
            text = pattern.sub(lambda match: "\n".join(one for one in (begin, self.earlier(), end) if one), text)
        for study in self.studies:
            begin, end = f"<!-- {study.name} -->", f"<!-- end of {study.name} -->"
            pattern = re.compile(re.escape(begin) + r"\n.*?" + re.escape(end), re.DOTALL)
            if not pattern.search(text):
                raise SystemExit(f"{self.path.name} has no place for {study.name!r}: {begin} ... {end}")
            block = f"{begin}\n{self.rendered(study)}\n{end}"
            text = pattern.sub(lambda match, block=block: block, text)  # type: ignore[misc]
        return text

    def run(self, names: Sequence[str], data: str, workspace: str) -> None:
        """Carry out the commands of these studies, or of all; results that are there already are kept."""
        environment = {**os.environ, "GPTFL_WORKSPACE": workspace}
        raw = self.raw.relative_to(ROOT)
        self.raw.mkdir(exist_ok=True)
        for study in self.studies:
            if names and study.name not in names:
                continue
            for command in study.expanded():
                line = command.format(raw=raw, data=data).replace("$GPTFL_WORKSPACE", workspace)
                words = shlex.split(line)
                written = [ROOT / word for word in words if word.startswith(f"{raw}/") and word.endswith(".json")]
                if written and written[0].is_file():
                    continue
                started = time.perf_counter()
                print(f"$ {line}", flush=True)
                done = subprocess.run([sys.executable, "-m", *words], env=environment, cwd=ROOT, check=False)
                print(f"  {done.returncode} after {time.perf_counter() - started:.0f} s", flush=True)
            for path in (self.raw / f"{name}.json" for name in study.results):
                if path.is_file():
                    kept = scrubbed(json.loads(path.read_text(encoding="utf-8")))
                    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def main(self, description: str | None) -> None:
        """The command line of a page's script."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("what", choices=("list", "run", "page"))
        parser.add_argument("names", nargs="*")
        parser.add_argument("--data", default="DATA")
        parser.add_argument("--workspace", default="gptfl-work")
        given = parser.parse_args()
        unknown = sorted(set(given.names) - {study.name for study in self.studies})
        if unknown:
            parser.error(f"no study is called {unknown[0]!r}")
        if given.what == "list":
            for study in self.studies:
                there = f"{len(self.found_for(study))} of {len(study.results)} run"
                print(f"{study.name}: {len(study.expanded())} commands, {there}")
        elif given.what == "run":
            self.run(given.names, given.data, given.workspace)
        else:
            self.path.write_text(self.with_tables(self.path.read_text(encoding="utf-8")), encoding="utf-8")


def intervals(result: Mapping[str, Any]) -> bool:
    """Whether a result has intervals of scores."""
    return any(
        score.get("interval") is not None
        for row in result.get("estimators", ())
        if isinstance(row, dict)
        for score in row.get("scores", {}).values()
    )


def is_earlier(result: Mapping[str, Any]) -> bool:
    """Whether its intervals were made before a result said how."""
    return intervals(result) and "interval_method" not in result


def spelled(command: str, raw: str, width: int = 110) -> str:
    """A command as the page spells it: placeholders as shell variables, long lines continued."""
    words = command.format(raw=raw, data="DATA").split(" --")
    lines, line = [], words[0]
    for word in words[1:]:
        if len(line) + len(word) + 5 > width:
            lines.append(line + " \\")
            line = " "
        line += f" --{word}"
    return "\n".join([*lines, line])


def scrubbed(value: Any) -> Any:
    """A result without what is of this machine (paths) or of the data sets (texts)."""
    if isinstance(value, dict):
        return {key: scrubbed(item) for key, item in value.items() if key not in LOCAL}
    return [scrubbed(item) for item in value] if isinstance(value, list) else value


def dynamics(name: str) -> str:
    """The option that names a recording of the workspace."""
    return f"--dynamics $GPTFL_WORKSPACE/{name}.dynamics.h5"


def compare(name: str, result: str, options: str = "--folds 4") -> str:
    """The command that compares estimators on a recording."""
    return f"gptfl compare {dynamics(name)} {options} --output {{raw}}/{result}.json"


# ---------------------------------------------------------------- cells and tables


def number(name: str, value: float | None) -> str:
    """A score as a page shows it."""
    if value is None:
        return NOTHING
    if name == "skill" and value < -99:
        return "< -99"
    return f"{value:.3g}" if name in ("mse", "mae") or abs(value) >= 10 else f"{value:.3f}"


def cell(name: str, score: Mapping[str, Any] | None, bold: bool) -> str:
    """A score with its spread or interval."""
    if score is None:
        return NOTHING
    text = number(name, score["value"])
    if bold:
        text = f"**{text}**"
    if score.get("interval") and score["value"] > -99:
        low, high = score["interval"]
        return text if low == high else f"{text} [{low:.2f}, {high:.2f}]"
    return f"{text} ± {score['std']:.2g}" if score.get("std") else text


def mean_of(values: Sequence[float]) -> str:
    """Mean and standard deviation of repeats."""
    spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def label(row: Mapping[str, Any]) -> str:
    """An estimator's name, an oracle marked."""
    return f"{row['estimator']} †" if row.get("oracle") else str(row["estimator"])


def side_by_side(
    found: Mapping[str, Any], title: Callable[[str], str], scores: Sequence[str] = ("mse", "rho", "skill", "lds")
) -> str:
    """A line an estimator, a column a recording, some scores in each cell."""
    names = list(dict.fromkeys(label(row) for result in found.values() for row in result["estimators"]))
    rows = []
    for name in names:
        cells = []
        for result in found.values():
            row = next((row for row in result["estimators"] if label(row) == name and not row["error"]), None)
            known = {} if row is None else row["scores"]
            numbers = [number(key, known[key]["value"]) if key in known else NOTHING for key in scores]
            cells.append(" / ".join(numbers) if known else NOTHING)
        rows.append([name, *cells])
    return table([" / ".join(SCORES[key] for key in scores), *(title(name) for name in found)], rows)
