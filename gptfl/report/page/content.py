"""What a page holds: everything that its script and its template read, as JSON-able values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Example, MetricInfo
from gptfl.core.excerpts import excerpts
from gptfl.core.linear_form import LinearForm
from gptfl.core.texts import written_id
from gptfl.influence.cleaning import EFFECT, HARM, ITSELF, LABEL, OUTLIER
from gptfl.influence.matrix import InfluenceMatrix
from gptfl.influence.ranking import Ranking
from gptfl.influence.suspects import Suspect
from gptfl.report.number_scale import NumberScale
from gptfl.report.page.arrays import linear_json, packed, summed_json
from gptfl.report.page.groups import groups_of_examples
from gptfl.scores.comparison import Comparison
from gptfl.simulation.forms import SummedForm

LEVEL = 0.9
MOST_CHARACTERS = 6000
"""A text in a page has at most so many characters; the file has it whole."""
SHORT = 90
SHOWN_TESTS = 2
"""So many test examples have a chart when a page is opened."""
TABS = {
    "explore": "What if",
    "matrix": "Who moves whom",
    "suspects": "Suspects",
    "trust": "Trust",
    "about": "About",
}
"""The parts of a page, with their names."""


SIGNS = {
    ITSELF: "influence on itself (what is left to learn of it)",
    HARM: "harm to the mean of the test examples",
    LABEL: "share of like rows with another label",
    EFFECT: "harm beyond that of like rows",
    OUTLIER: "distance from like rows",
}
"""What the signs of ``rank --for cleaning`` are, in words."""


@dataclass(frozen=True, slots=True)
class HeldOutRuns:
    """Runs that the simulator wasn't fitted to, with what it predicts for them.

    ``bounds`` are None where it tells none, ``recorded`` where nothing was recorded of them. ``average`` is what they are
    held against, called ``against``; ``title`` says what the prediction is.
    """

    names: tuple[str, ...]
    steps: Int[np.ndarray, " recorded"]
    predicted: Float[np.ndarray, "run recorded test"]
    recorded: Float[np.ndarray, "run recorded test"] | None
    average: Float[np.ndarray, "recorded test"]
    bounds: tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]] | None
    title: str = "predicted, before it was seen"
    against: str = "average recorded run"


@dataclass(frozen=True, slots=True)
class RemoteForm:
    """That a server answers about subsets: the steps of its answers, and how wide intervals are (0: it tells none).

    ``reach`` is in standard deviations to each side. ``bounds`` says whether single test examples have intervals.
    """

    steps: Int[np.ndarray, " recorded"]
    reach: float
    bounds: bool


@dataclass(frozen=True, slots=True)
class PageParts:
    """What there is of a recording to show; None and nothing where it isn't there.

    ``form_note`` says why there is no form, or what to know of it; ``missing`` has what isn't there with the command that
    makes it; ``subsets`` are those saved in the workspace by name; ``average`` is the average run at the form's steps.
    """

    name: str
    facts: Mapping[str, str]
    metric: MetricInfo
    pool: tuple[Example, ...]
    tests: tuple[Example, ...]
    estimator: str | None = None
    form: LinearForm | SummedForm | RemoteForm | None = None
    form_note: str = ""
    average: Float[np.ndarray, "recorded test"] | None = None
    ranking: Ranking | None = None
    matrix: InfluenceMatrix | None = None
    matrix_note: str = ""
    signs: Mapping[str, Float[np.ndarray, " pool"]] | None = None
    suspects: Sequence[Suspect] = ()
    duplicates: Sequence[tuple[int, int, float]] = ()
    comparison: Comparison | None = None
    held_out: HeldOutRuns | None = None
    trust: str = ""
    verifications: Sequence[Mapping[str, Any]] = ()
    subsets: Mapping[str, Int[np.ndarray, " subset"]] | None = None
    missing: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    commands: Mapping[str, str] | None = None
    tabs: Mapping[str, str] = field(default_factory=lambda: dict(TABS))
    """The parts that are shown, in order, with their names; the first is open."""
    command: str = "gptfl report"
    """What made the page."""
    trust_title: str = "How far to trust it"
    pairs: Sequence[tuple[str, str]] = ()
    """Labels and values over the tables of trust."""
    tables: Sequence[Mapping[str, Any]] = ()
    """Further tables, as ``page.tables`` makes them."""
    pictures: Sequence[Mapping[str, str]] = ()
    """Pictures as addresses of their data, with the words for those who don't see them."""
    runs_title: str = "Runs that it wasn't fitted to"
    is_remote: bool = False
    """Whether the page asks a server for rows, texts, effects and answers, and holds none of them."""


def script_data(parts: PageParts) -> dict[str, Any]:
    """What the page's script reads."""
    form = None
    if isinstance(parts.form, LinearForm):
        form = linear_json(parts.form, LEVEL)
    elif isinstance(parts.form, RemoteForm):
        steps, reach = parts.form.steps.tolist(), parts.form.reach
        form = {
            "kind": "remote",
            "steps": steps,
            "reach": reach,
            "bounds": parts.form.bounds,
            "tests": len(parts.tests),
        }
    elif parts.form is not None:
        form = summed_json(parts.form)
    average = np.zeros((1, len(parts.tests))) if parts.average is None else parts.average
    return {
        "metric": {"name": parts.metric.name, "higher": parts.metric.higher_is_better},
        "remote": parts.is_remote,
        "pool": {"count": len(parts.pool)} if parts.is_remote else examples_json(parts.pool),
        "tests": examples_json(parts.tests),
        "groups": {name: {"values": values, "of": of} for name, (values, of) in groups_of_examples(parts.pool).items()},
        "duplicates": [[one, other] for one, other, _ in parts.duplicates],
        "form": form,
        "average": {
            "values": packed(average),
            "mean": packed(average.mean(axis=1) if parts.tests else average.sum(axis=1)),
        },
        "influence": None if parts.ranking is None else _influence(parts.ranking),
        "matrix": None if parts.matrix is None else _matrix(parts.matrix, parts.is_remote),
        "suspects": [_suspect(one, parts) for one in parts.suspects],
        "held_out": None if parts.held_out is None else _held_out(parts.held_out),
        "subsets": [{"name": name, "rows": rows.tolist()} for name, rows in (parts.subsets or {}).items()],
        "shown_tests": _most_varied(parts),
        "commands": dict(parts.commands or {}),
    }


def examples_json(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Ids and texts; conversations turn by turn."""
    return [
        {
            "id": example.id,
            "written": written_id(example.id),
            "short": short,
            **(
                {"turns": [{"role": t.role, "content": _cut(t.content), "target": t.target} for t in example.turns]}
                if example.turns
                else {"prompt": _cut(example.prompt), "target": _cut(example.target)}
            ),
        }
        for example, short in zip(examples, excerpts(examples, SHORT), strict=True)
    ]


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}… ({len(text)} characters in all)"


def _influence(ranking: Ranking) -> dict[str, Any]:
    """Influences on the mean, their order, and where intervals are known 1, -1 or 0 where they hold 0."""
    verdict = None
    if ranking.low is not None and ranking.high is not None:
        verdict = ((ranking.low > 0).astype(int) - (ranking.high < 0).astype(int)).tolist()
    mean = [float(f"{one:.6g}") for one in ranking.influence]
    return {"mean": mean, "order": ranking.order, "verdict": verdict}


def _matrix(matrix: InfluenceMatrix, is_remote: bool) -> dict[str, Any]:
    return {
        **({"has_spread": matrix.spread is not None} if is_remote else matrix_block(matrix, 0, len(matrix.rows))),
        "rows": matrix.rows.tolist(),
        "columns": matrix.columns.tolist(),
    }


def matrix_block(matrix: InfluenceMatrix, start: int, stop: int) -> dict[str, Any]:
    """The effects of the rows from ``start`` to ``stop`` in the matrix's own order, on every test example."""
    rows = matrix.rows[start:stop]
    return {
        "mean": packed(matrix.mean[rows]),
        "spread": None if matrix.spread is None else packed(matrix.spread[rows]),
    }


def _suspect(one: Suspect, parts: PageParts) -> dict[str, Any]:
    signs = parts.signs or {}
    count = len(parts.pool)
    # In the upper half of the pool: what is usual is no reason to suspect anything.
    why = [
        f"{SIGNS.get(name, name)} {signs[name][one.row]:.3g}: number {rank} of {count}"
        for name, rank in sorted(one.ranks.items(), key=lambda pair: pair[1])
        if 2 * rank <= count
    ]
    ranking = parts.ranking
    if ranking is not None and ranking.low is not None and ranking.high is not None:
        scale = NumberScale.of(ranking.influence)
        low, high = float(ranking.low[one.row]), float(ranking.high[one.row])
        why.append(f"90 % interval of its influence on the mean: {scale.span(low, high)}")
    near = [parts.pool[b if a == one.row else a] for a, b, _ in parts.duplicates if one.row in (a, b)]
    other = [example.id for example in near if example.target.strip() != parts.pool[one.row].target.strip()]
    if other:
        why.append(f"nearly the same text, with another target, as {', '.join(other[:3])}")
    return {"row": one.row, "why": why}


def _held_out(held: HeldOutRuns) -> dict[str, Any]:
    low, high = (None, None) if held.bounds is None else map(packed, held.bounds)
    return {
        "runs": list(held.names),
        "steps": held.steps.tolist(),
        "predicted": packed(held.predicted),
        "recorded": None if held.recorded is None else packed(held.recorded),
        "title": held.title,
        "against": held.against,
        "average": [[None if np.isnan(value) else float(f"{value:.6g}") for value in row] for row in held.average],
        "low": low,
        "high": high,
    }


def _most_varied(parts: PageParts) -> list[int]:
    """The test examples whose scores examples move most, to begin with."""
    if parts.matrix is None:
        return []
    return [int(one) for one in np.argsort(-np.linalg.norm(parts.matrix.mean, axis=0), kind="stable")[:SHOWN_TESTS]]


def shown_path(path: Path) -> str:
    """A path as a command in the page names it: from here, where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
