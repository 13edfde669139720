"""A selected subset: the file of its ids, the table and the numbers."""

import csv
import io

from rich.table import Table

from gptfl.core.texts import json_text, shown_line, written_id
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.influence.selection import Selection
from gptfl.report.plain import with_plain
from gptfl.report.ranking import rich_table
from gptfl.report.ranking_rows import class_of

HEAD = "# gptfl select"
"""How a file of selected ids begins."""


def ids_text(selection: Selection) -> str:
    """The ids, one a line, after a comment that says what they are."""
    head = (
        f"{HEAD}: {len(selection.ids)} of {selection.pool} examples of {selection.recording}, by {selection.estimator}"
    )
    return "\n".join((head, *map(written_id, selection.ids))) + "\n"


def to_json(selection: Selection) -> str:
    """Everything."""
    bounds = {"low": selection.low, "high": selection.high}
    document = {
        "recording": selection.recording,
        "estimator": selection.estimator,
        "metric": selection.metric.name,
        "on": selection.on,
        "how": selection.how,
        "pool": selection.pool,
        **({} if selection.among is None else {"among": selection.among}),
        **selection.criteria,
        "step": selection.step,
        "predicted": selection.predicted,
        "intervals": {f"{level:g}": list(pair) for level, pair in selection.intervals.items()},
        "reference": selection.reference,
        "novelty": selection.novelty,
        "orders": selection.orders,
        "classes": selection.classes,
        "examples": [
            {
                "id": example.id,
                "influence": float(selection.influence[place]),
                **{name: float(bound[place]) for name, bound in bounds.items() if bound is not None},
                "class": class_of(example),
                "text": shown_line(example.text),
            }
            for place, example in enumerate(selection.examples)
        ],
        "simulator": str(selection.simulator),
        "output": None if selection.output is None else str(selection.output),
        "notes": list(selection.notes),
    }
    return json_text(with_plain(selection, document), indent=2) + "\n"


def selection_csv(selection: Selection) -> str:
    """A row for each example, in the order in which they were chosen."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = {} if selection.low is None or selection.high is None else {"low": selection.low, "high": selection.high}
    writer.writerow(["estimator", "id", "influence", *bounds, "class", "text"])
    for place, example in enumerate(selection.examples):
        numbers = [float(one[place]) for one in (selection.influence, *bounds.values())]
        row = [selection.estimator, written_id(example.id), *numbers, class_of(example), shown_line(example.text)]
        writer.writerow(row)
    return text.getvalue()


def selection_table(selection: Selection, top: int | None) -> Table:
    """The selected examples, highest influence first."""
    ranking = Ranking(
        selection.estimator,
        selection.estimator,
        how=selection.how,
        influence=selection.influence,
        step=selection.step,
        simulator=selection.simulator,
        low=selection.low,
        high=selection.high,
    )
    ranked = RankResult(
        selection.recording, selection.metric, selection.on, selection.subject, selection.examples, (ranking,)
    )
    return rich_table(ranked, ranking, top, False)
