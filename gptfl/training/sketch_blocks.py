"""Gradient sketches of a part of the examples, and all of them put together: a large pool is shared out so.

Each part follows the reference run by itself, which takes few steps beside the gradients of a large pool, so that no
weights travel. Examples are cut into the same pieces as where one process takes them all, and each part has whole pieces: so
the sketches are the same to the bit.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from gptfl.plugins.interfaces import Plan
from gptfl.training.gradient_sketches import SketchSetup
from gptfl.training.gradients.denominators import counts_own
from gptfl.training.gradients.projection import sketch_each
from gptfl.training.gradients.sides import Side
from gptfl.training.kept_sketches import KeptSketching
from gptfl.training.reference_run import Followed, Moment, follow_reference
from gptfl.training.trainer import RecordingTrainer

SIDES = ("pool", "test")
Arrays = Mapping[str, np.ndarray]


def pieces_of(setup: SketchSetup, part: int, parts: int) -> dict[str, list[list[int]]]:
    """The pieces of a part, by side.

    In a span pieces are in the order of their examples' lengths, so each part has short and long ones.
    """
    whole = zip(SIDES, setup.pieces(), strict=True)
    return {name: [piece for pieces in spans for piece in pieces][part::parts] for name, spans in whole}


def count_pieces(setup: SketchSetup) -> int:
    """Into how many parts a setup can be shared out at most."""
    return max(map(len, pieces_of(setup, 0, 1).values()))


def take_part(
    trainer: RecordingTrainer,
    plan: Plan,
    points: Sequence[int],
    setup: SketchSetup,
    part: int,
    parts: int,
    on_examples: Callable[[int, int], None],
) -> dict[str, np.ndarray]:
    """The sketches of a part's examples at points of a reference run, which is followed, as named arrays.

    Args:
        trainer: carries it out.
        plan: its batches and seed.
        points: the steps to sketch at.
        setup: the examples, and the memory that gradients take.
        part: which part.
        parts: of how many.
        on_examples: called with the examples done, over all points, and how many there are.

    Raises ``DataError`` as ``follow_reference`` does.
    """
    mine = pieces_of(setup, part, parts)
    rows = {name: [row for piece in pieces for row in piece] for name, pieces in mine.items()}
    # A part holds its own examples alone, in the order of its pieces.
    sides = {name: getattr(setup, name).take(rows[name]) for name in SIDES}
    own = {name: _in_a_row(mine[name]) for name in SIDES}
    total = len(points) * sum(map(len, rows.values()))
    requests = dict(zip(SIDES, setup.requests(plan.seed), strict=True))
    found: dict[str, np.ndarray] = {f"rows {name}": np.array(places, dtype=np.int64) for name, places in rows.items()}
    done, spent, trained = 0, 0.0, 0.0

    def count(examples: int) -> None:
        nonlocal done
        done += examples
        on_examples(done, total)

    def visit(moment: Moment) -> None:
        nonlocal spent, trained
        started = time.perf_counter()
        for name in SIDES:
            side: Side = sides[name]
            given = moment.denominator, setup.memory, count, own[name]
            for place, made in enumerate(sketch_each(setup.tape, side, requests[name], *given)):
                for power, values in enumerate(made):
                    found[_name(moment.step, name, place, power)] = values.cpu().numpy()
        spent += time.perf_counter() - started
        trained = moment.seconds

    followed = follow_reference(trainer, plan, points, visit)
    found |= {"rates": followed.rates, "clipped": np.array(followed.clipped), "seconds": np.array([spent, trained])}
    return found


def _name(step: int, side: str, place: int, power: int) -> str:
    return f"step {step} {side} {place} {power}"


def _in_a_row(pieces: Sequence[Sequence[int]]) -> list[range]:
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    return [range(end - len(piece), end) for piece, end in zip(pieces, ends, strict=True)]


def is_kept(sketching: KeptSketching, part: int, parts: int) -> bool:
    """Whether ``sketching`` has all that a part would give."""
    for number, pieces in enumerate(pieces_of(sketching.setup, part, parts).values()):
        rows = {row for piece in pieces for row in piece}
        for place in range(len(sketching.points)):
            spans = range(len(sketching.setup.spans[number]))
            if any(rows & sketching.rows.missing(place, number, span) for span in spans):
                return False
    return True


def keep_part(sketching: KeptSketching, given: Arrays) -> Followed:
    """Give a part's sketches to ``sketching``; what the reference run was like.

    Args:
        sketching: keeps them.
        given: what ``take_part`` gave of the part.

    Raises ``DataError`` where a sketch is not finite, ``ResourceError`` where they can't be kept.
    """
    spent, trained = given["seconds"].tolist()
    for place, step in enumerate(sketching.points):
        for number, name in enumerate(SIDES):
            begin = f"step {step} {name} "
            found = {key.removeprefix(begin): torch.from_numpy(given[key]) for key in given if key.startswith(begin)}
            sketching.take(place, number, given[f"rows {name}"].tolist(), found, spent)
            spent = 0.0
    sketching.trained = trained, counts_own(len(given["rates"]))  # as each part's reference run did
    return Followed(given["rates"], tuple(given["clipped"].tolist()))
