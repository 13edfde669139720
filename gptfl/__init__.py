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
    from gptfl.api.compare import compare
    from gptfl.api.rank import rank
    from gptfl.api.relabel_study import relabel_study
    from gptfl.api.select import select
    from gptfl.api.select_study import select_study
    from gptfl.api.simulate import simulate
    from gptfl.api.verify import verify
    from gptfl.features.featurize import featurize
    from gptfl.interchange.export_recording import export
    from gptfl.interchange.import_recording import import_
    from gptfl.recording.collect import collect
    from gptfl.recording.inspect import inspect
    from gptfl.simulation.fit import fit

_VERBS = {
    "collect": "recording.collect",
    "compare": "api.compare",
    "export": "interchange.export_recording",
    "featurize": "features.featurize",
    "fit": "simulation.fit",
    "import_": "interchange.import_recording",
    "inspect": "recording.inspect",
    "rank": "api.rank",
    "relabel_study": "api.relabel_study",
    "select": "api.select",
    "select_study": "api.select_study",
    "simulate": "api.simulate",
    "verify": "api.verify",
}
"""Where each verb is."""

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
        return getattr(importlib.import_module(f"gptfl.{_VERBS[name]}"), name)
    raise AttributeError(f"module 'gptfl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
