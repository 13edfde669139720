"""Simulate how fine-tuning a GPT model on chosen examples moves every test example's metrics.

Each stage is a function of the same name as its command: ``collect``, ``featurize``, ``fit``,
``simulate``, ``verify``, ``compare``, ``rank``, ``select``, ``import_`` (a word that Python keeps for itself) and
``export``. They are loaded when first used, so that ``import gptfl`` is light.
"""

import importlib

# As typing has it, which takes longer to load than all of this.
TYPE_CHECKING = False

if TYPE_CHECKING:
    __version__: str
    from gptfl.stages.collect import collect
    from gptfl.stages.compare import compare
    from gptfl.stages.export import export
    from gptfl.stages.featurize import featurize
    from gptfl.stages.fit import fit
    from gptfl.stages.import_ import import_
    from gptfl.stages.inspect import inspect
    from gptfl.stages.rank import rank
    from gptfl.stages.relabel_study import relabel_study
    from gptfl.stages.select import select
    from gptfl.stages.select_study import select_study
    from gptfl.stages.simulate import simulate
    from gptfl.stages.verify import verify

__all__ = [
    "collect",
    "compare",
    "export",
    "featurize",
    "fit",
    "import_",
    "inspect",
    "rank",
    "relabel_study",
    "select",
    "select_study",
    "simulate",
    "verify",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("gptfl")
    if name in __all__:
        return getattr(importlib.import_module(f"gptfl.stages.{name}"), name)
    raise AttributeError(f"module 'gptfl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
