"""What ``gptfl select`` chose, of each kind: its ids, its numbers and its picture."""

from pathlib import Path

from gptfl.influence.frontier import Frontier
from gptfl.influence.mixture import MixtureSelection
from gptfl.influence.selection import Selection
from gptfl.report.frontier import draw_frontier, frontier_csv, frontier_ids_text, frontier_json
from gptfl.report.mixture import draw_mixture, mixture_csv, mixture_ids_text, mixture_json
from gptfl.report.selection import ids_text, selection_csv, to_json
from gptfl.store.outputs import written_whole

Chosen = Selection | Frontier | MixtureSelection


def chosen_ids(result: Chosen) -> str:
    """The ids, one a line, after a comment that says what they are."""
    if isinstance(result, Frontier):
        return frontier_ids_text(result)
    return mixture_ids_text(result) if isinstance(result, MixtureSelection) else ids_text(result)


def chosen_json(result: Chosen) -> str:
    """Everything, as JSON."""
    if isinstance(result, Frontier):
        return frontier_json(result)
    return mixture_json(result) if isinstance(result, MixtureSelection) else to_json(result)


def chosen_csv(result: Chosen) -> str:
    """The numbers as CSV: of a subset a row each example, of a frontier each point and example, of a mixture each group."""
    if isinstance(result, Frontier):
        return frontier_csv(result)
    return mixture_csv(result) if isinstance(result, MixtureSelection) else selection_csv(result)


def write_chosen_ids(result: Chosen, path: Path) -> None:
    """Write the ids. Raises ``ResourceError`` if they can't be written."""
    with written_whole(path) as part:
        part.write_text(chosen_ids(result), encoding="utf-8")


def draw_chosen(result: Frontier | MixtureSelection, path: Path) -> None:
    """Write the picture. Raises ``ResourceError`` if it can't be written."""
    if isinstance(result, Frontier):
        draw_frontier(result, path)
    else:
        draw_mixture(result, path)
