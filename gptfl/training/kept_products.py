"""Gradient products that are kept as they are made: a point's and some training examples' at a time, each in a file of its own.

A command that is killed follows the reference run again, and multiplies what is lacking. Products of all pairs are never in
memory at once.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from gptfl.core import FeatureSet, GradientProducts, fingerprint
from gptfl.core.blocked_products import BlockedProducts, JoinedColumns, UnknownRows, as_products
from gptfl.core.blocked_rows import BlockedRows
from gptfl.errors import DataError
from gptfl.interruption import leaving
from gptfl.plugins.interfaces import Plan
from gptfl.store.feature_blocks import FeatureBlocks, RowsOfBlocks
from gptfl.training.gradients.blocks import block_products, record_block
from gptfl.training.gradients.factored import Block
from gptfl.training.gradients.products import Products
from gptfl.training.reference_run import Followed, Moment, Setup, scaled_products
from gptfl.training.trainer import RecordingTrainer

IN_MEMORY = 2**22
"""Products of one kind that are fewer numbers are in memory in the end, and packed in their file."""
ENCODER = "gradient products"
NO_KEYS: tuple[list[str], list[str]] = [], []
PAIRS = "raw", "divided"
OWN = "own", "own divided"


class KeptMultiplying:
    """Takes the products of all gradients at points of a reference run, and keeps them beside ``target`` meanwhile.

    Call it at each point. ``on_pairs(point, step, pairs)`` is told of every block of pairs that is done now.
    """

    def __init__(
        self, trainer: RecordingTrainer, plan: Plan, points: Sequence[int], setup: Setup, target: Path
    ) -> None:
        self.trainer, self.plan, self.points, self.setup = trainer, plan, tuple(points), setup
        self.on_pairs: Callable[[int, int, int], None] = lambda point, step, pairs: None
        self.columns = [
            np.array([i for piece in pieces for i in piece], dtype=np.int64) for pieces in setup.arrangement.tests
        ]
        starts = range(0, len(setup.pool), setup.together)
        self.spans = [range(start, min(start + setup.together, len(setup.pool))) for start in starts]
        examples = [[one.digest for one in side] for side in (trainer.pool, trainer.evaluator.test)]
        run = [trainer.network.loaded.weights_hash, repr(trainer.recipe), plan.seed, setup.together, list(self.points)]
        work = fingerprint(ENCODER, run, plan.batches, examples, *self.columns)
        self.kept = FeatureBlocks(target, ENCODER, {}, work)
        self.notes: list[str] = []
        self._there = {number for number in range(len(self.points) * self._each) if self._is_there(number)}
        self._own_counted = False

    @property
    def _each(self) -> int:
        """How many blocks a point has."""
        return len(self.columns) * len(self.spans)

    @property
    def done(self) -> int:
        """Pairs over all points that are multiplied already."""
        return sum(self._pairs(number) for number in self._there)

    def __call__(self, moment: Moment) -> None:
        """Multiply at one point. Raises ``DataError`` where a product is not finite, ``ResourceError`` where a block can't be
        written.
        """
        place, self._own_counted = self.points.index(moment.step), moment.own_counted
        with leaving(self._left):
            for part, pieces in enumerate(self.setup.arrangement.tests):
                first = place * self._each + part * len(self.spans)
                missing = [one for one in range(len(self.spans)) if first + one not in self._there]
                # Gradients of the test examples are made where something is to be multiplied with them.
                there = record_block(self.setup.tape, self.setup.test, pieces) if missing else None
                for one in missing:
                    assert there is not None  # something is missing
                    found = self._multiplied(moment, place, self.spans[one], there, own=part == 0)
                    self.kept.keep(first + one, self._sets(found, moment.step, self.spans[one]), 0.0, NO_KEYS)
                    self._there.add(first + one)

    def _multiplied(self, moment: Moment, place: int, span: range, there: Block, own: bool) -> Products:
        """The products of some training examples in a row with a block of test examples.

        Args:
            moment: where the reference run is.
            place: of that point.
            span: places of the training examples.
            there: gradients of the test examples.
            own: whether products of the training examples with themselves are wanted, too.
        """
        setup, arrangement, divided = self.setup, self.setup.arrangement, moment.denominator is not None

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=setup.tape.network.device)

        shape = len(span), there.count
        total = Products(
            zeros(*shape),
            zeros(*shape) if divided else None,
            zeros(len(span)) if own else None,
            zeros(len(span)) if own and divided else None,
        )
        blocks = [block for block in arrangement.pools if block[0][0] in span]
        given = setup.tape, setup.pool, arrangement, blocks, there, moment.denominator, own
        for rows, found in block_products(*given):
            for mine, theirs in (
                (total.raw, found.raw),
                (total.divided, found.divided),
                (total.own, found.own),
                (total.own_divided, found.own_divided),
            ):
                if mine is not None and theirs is not None:
                    mine[rows - span.start] = theirs
            self.on_pairs(place, moment.step, len(rows) * there.count)
        return total

    def _sets(self, found: Products, step: int, span: range) -> dict[str, FeatureSet]:
        """What is kept of a block. Raises ``DataError`` where a product is not finite."""
        sets = {}
        for name, values in zip((*PAIRS, *OWN), (found.raw, found.divided, found.own, found.own_divided), strict=True):
            if values is not None:
                if not torch.isfinite(values).all():
                    bad = span[int((~torch.isfinite(values)).reshape(len(span), -1).any(dim=1).int().argmax())]
                    raise DataError(
                        f"the gradient of pool example {self.trainer.pool[bad].id!r} is not finite at step {step} of the "
                        "reference run",
                        "lower --lr, or look at this example",
                    )
                rows = values.cpu().numpy().astype(np.float32).reshape(len(span), -1)
                sets[name] = FeatureSet(rows, np.zeros((0, rows.shape[1]), np.float32), "gradient")
        return sets

    def products(self, run: Followed) -> GradientProducts:
        """All that was taken along the run; products of pairs are read from their blocks where they are many.

        Raises ``DataError`` where a block can't be read.
        """
        places = range(len(self.points))
        found = GradientProducts(
            seed=self.plan.seed,
            steps=np.array(self.points, dtype=np.int64),
            learning_rates=run.rates,
            raw=as_products(BlockedProducts([self._rows(place, PAIRS[0]) for place in places])),
            preconditioned=as_products(BlockedProducts([self._rows(place, PAIRS[1]) for place in places])),
            self_raw=np.stack([self._own(place, OWN[0]) for place in places]),
            self_preconditioned=np.stack([self._own(place, OWN[1]) for place in places]),
            own_counted=self._own_counted,
        )
        scaled = scaled_products(found, run.scales(self.trainer, self.points))
        return scaled if scaled.raw.size >= IN_MEMORY else scaled.in_memory()

    def _rows(self, place: int, name: str) -> BlockedRows:
        """The products of one kind at a point."""
        first = place * self._each
        if name not in self.kept.read(first):
            return UnknownRows((len(self.setup.pool), len(self.setup.test)))
        ends = np.array([span.stop for span in self.spans])
        return JoinedColumns(
            [
                (RowsOfBlocks(self.kept, name, ends, len(columns), first + part * len(self.spans)), columns)
                for part, columns in enumerate(self.columns)
            ]
        )

    def _own(self, place: int, name: str) -> Float[np.ndarray, " pool"]:
        """The training examples' products with themselves at a point, which lie with the first block of test examples."""
        read = [self.kept.read(place * self._each + one) for one in range(len(self.spans))]
        if name not in read[0]:
            return np.full(len(self.setup.pool), np.nan, np.float32)
        return np.concatenate([np.asarray(sets[name].train)[:, 0] for sets in read])

    def _is_there(self, number: int) -> bool:
        try:
            return self.kept.find(number, NO_KEYS) is not None
        except DataError as error:
            self.notes.append(f"a block of gradient products is made again: {error.problem}")
            return False

    def _pairs(self, number: int) -> int:
        part, one = divmod(number % self._each, len(self.spans))
        return len(self.columns[part]) * len(self.spans[one])

    def _left(self) -> str:
        total = len(self.points) * len(self.setup.pool) * len(self.setup.test)
        return f"{self.done} of {total} gradient products are kept, the same command goes on from there"
