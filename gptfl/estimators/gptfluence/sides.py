"""Both sides of a recurrence: the vectors of training and test examples, and what their projections are made of."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gptfl.core import FeatureSet, Unseen
from gptfl.core.blocked_rows import BlockedRows
from gptfl.estimators.gptfluence.pool_rows import PoolProjection, PoolRows
from gptfl.estimators.gptfluence.projection import Form, project
from gptfl.estimators.gptfluence.vectors import Standard, check_beside


@dataclass(frozen=True, slots=True)
class VectorSides:
    """The vectors of the pool and of the test examples, and the form of their projections."""

    form: Form
    train: Float[Tensor, "pool d"]
    test: Float[Tensor, "test d"]

    def project(self, parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Both sides' projections: (factor, pool, width) and (factor, test, width)."""
        train, test = self.form.sides
        return project(self.train, parameters, train), project(self.test, parameters, test)


@dataclass(frozen=True, slots=True)
class StreamedSides:
    """The sides of a fitted recurrence whose pool isn't in memory."""

    form: Form
    train: PoolRows
    test: Float[Tensor, "test d"]

    def project(self, parameters: dict[str, Tensor]) -> tuple[PoolProjection, Tensor]:
        """Both sides' projections."""
        return PoolProjection(self.train, self.form, parameters), project(self.test, parameters, self.form.sides[1])


def asked_sides(
    fitted: VectorSides | StreamedSides, standards: tuple[Standard, Standard], vectors: FeatureSet, unseen: Unseen
) -> VectorSides | StreamedSides:
    """The sides of examples of which some weren't fitted.

    Args:
        fitted: those of the fit.
        standards: by which both sides' vectors were standardised.
        vectors: of all examples asked about.
        unseen: which of them were fitted.

    Raises ``DataError`` for vectors of another length, or places that weren't fitted.
    """
    train, test = standards
    theirs = test.beside(fitted.test, vectors.test, unseen.test_seen)
    if isinstance(fitted, VectorSides) and not isinstance(vectors.train, BlockedRows):
        return VectorSides(fitted.form, train.beside(fitted.train, vectors.train, unseen.pool_seen), theirs)
    # What lies in a file is the same for examples fitted, and there is too much of it to be looked at.
    check_beside(fitted.train.shape, vectors.train.shape[1], unseen.pool_seen)
    return StreamedSides(fitted.form, PoolRows(vectors.train, train), theirs)
