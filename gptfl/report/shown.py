"""What a result shows of itself in a notebook and in print: the lines that its command prints, and its tables."""

from collections.abc import Sequence
from functools import singledispatch

from rich.table import Table

from gptfl.evaluation.verification import Verification
from gptfl.influence.ranking import RankResult
from gptfl.report.calibration import calibration_table
from gptfl.report.comparison import cost_table, rich_table
from gptfl.report.ranking_parts import ranking_parts
from gptfl.report.removal_study import headline as removal_headline
from gptfl.report.removals import removal_table
from gptfl.report.simulation import headline
from gptfl.report.verification import trainings, verification_pairs
from gptfl.scores.comparison import Comparison
from gptfl.simulation.outcome import Simulation
from gptfl.studies.results import RemovalStudy

Part = str | Table


@singledispatch
def parts_of(result: object, tables: Sequence[Table]) -> list[Part]:
    """Lines and tables, from top to bottom.

    Args:
        result: one of any kind.
        tables: those that are known of it, which are all that most kinds show.
    """
    return list(tables)


@parts_of.register(Simulation)
def _(result: Simulation, tables: Sequence[Table]) -> list[Part]:
    return [headline(result), *tables]


@parts_of.register(RemovalStudy)
def _(result: RemovalStudy, tables: Sequence[Table]) -> list[Part]:
    return [removal_headline(result), *tables]


@parts_of.register(Comparison)
def _(result: Comparison, tables: Sequence[Table]) -> list[Part]:
    others = (removal_table(result), calibration_table(result), cost_table(result))
    return [rich_table(result), *(one for one in others if one is not None)]


@parts_of.register(Verification)
def _(result: Verification, tables: Sequence[Table]) -> list[Part]:
    pairs = verification_pairs(result)
    width = max(map(len, pairs))
    step = result.steps[result.last]
    first = f"Trained on {result.what} ({trainings(result)}), {result.metric.name} at step {step}"
    return [first, *(f"  {label:<{width}}  {value}" for label, value in pairs.items()), *tables]


@parts_of.register(RankResult)
def _(result: RankResult, tables: Sequence[Table]) -> list[Part]:
    return list(ranking_parts(result))
