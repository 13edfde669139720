"""Gradient sketches of a part of the examples, and all of them put together: a large pool is shared out so.

Each part follows the reference run by itself, which takes few steps beside the gradients of a large pool, so that no
weights travel. Examples are cut into the same pieces as where one process takes them all, and each part has whole pieces: so
the sketches are the same to the bit.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gptfl.plugins.interfaces import Plan
from gptfl.training.gradient_sketches import Sketching, SketchSetup
from gptfl.training.gradients.blocks import Weights, pieces_within
from gptfl.training.gradients.denominators import counts_own
from gptfl.training.gradients.projection import sketch_each
from gptfl.training.gradients.sides import Side
from gptfl.training.reference_run import Followed, Moment, follow_reference
from gptfl.training.trainer import RecordingTrainer

SIDES = ("pool", "test")
Arrays = Mapping[str, np.ndarray]


def pieces_of(setup: SketchSetup, part: int, parts: int) -> dict[str, list[list[int]]]:
    """The pieces of a part, by side. Pieces are in the order of their examples' lengths, so each part has short and long ones."""
    found = {}
    for name in SIDES:
        side: Side = getattr(setup, name)
        found[name] = pieces_within(side, Weights.measured(setup.tape, side), setup.memory)[part::parts]
    return found


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
            side: Side = getattr(setup, name)
            given = moment.denominator, setup.memory, count, mine[name]
            for place, made in enumerate(sketch_each(setup.tape, side, requests[name], *given)):
                for power, values in enumerate(made):
                    found[_name(moment.step, name, place, power)] = values[rows[name]].cpu().numpy()
        spent += time.perf_counter() - started
        trained = moment.seconds

    followed = follow_reference(trainer, plan, points, visit)
    found |= {"rates": followed.rates, "clipped": np.array(followed.clipped), "seconds": np.array([spent, trained])}
    return found


def _name(step: int, side: str, place: int, power: int) -> str:
    return f"step {step} {side} {place} {power}"


def put_together(sketching: Sketching, parts: Sequence[Arrays], points: Sequence[int]) -> Followed:
    """Give all parts' sketches to ``sketching``, as if it had been at each point; what the reference run was like.

    Args:
        sketching: takes them.
        parts: what ``take_part`` gave of each part.
        points: the steps that were sketched at.

    Raises ``DataError`` where a sketch is not finite.
    """
    setup = sketching.setup
    for step in points:
        sides: list[list[list[Tensor]]] = []
        for name in SIDES:
            made: list[list[Tensor]] = []
            names = [key for key in parts[0] if key.startswith(f"step {step} {name} ")]
            for key in names:
                whole = np.zeros((len(getattr(setup, name)), parts[0][key].shape[1]), dtype=parts[0][key].dtype)
                for part in parts:
                    whole[part[f"rows {name}"]] = part[key]
                if key.endswith(" 0"):
                    made.append([])
                made[-1].append(torch.from_numpy(whole).to(setup.tape.network.device))
            sides.append(made)
        sketching.add(step, *sides)
    sketching.spent = float(sum(part["seconds"][0] for part in parts))
    sketching.trained = float(parts[0]["seconds"][1])
    sketching.own_counted = counts_own(len(parts[0]["rates"]))  # as each part's reference run did
    return Followed(parts[0]["rates"], tuple(parts[0]["clipped"].tolist()))
