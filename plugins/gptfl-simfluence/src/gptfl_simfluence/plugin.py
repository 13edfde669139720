"""Registers the three forms of Simfluence."""

from collections.abc import Callable, Mapping

from gptfl.plugins import Estimator, hookimpl


def form(name: str) -> Callable[..., Estimator]:
    """A factory of one form, which imports scipy only when it is called."""

    def factory(
        strength: float | None = None,
        fit: str = "ridge",
        epochs: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
    ) -> Estimator:
        from gptfl_simfluence.estimator import Simfluence

        return Simfluence(name, strength, fit, epochs, learning_rate, weight_decay, batch_size)

    return factory


@hookimpl
def gptfl_estimators() -> Mapping[str, Callable[..., Estimator]]:
    """Linear (both factors), additive (alpha = 1) and multiplicative (beta = 0)."""
    return {f"simfluence-{name}": form(name) for name in ("linear", "additive", "multiplicative")}
