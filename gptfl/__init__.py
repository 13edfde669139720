"""Simulate how fine-tuning a GPT model on chosen examples moves every test example's metrics.

``collect`` and ``open_recording`` give a ``Recording``, ``fit`` and ``open_simulator`` a ``Simulator``: objects to hold, whose
methods compute and write nothing unless they say so. ``save`` and ``plot`` write what they give. Each command is also a
function of the same name that reads and writes files as the command does (``import_``, for Python keeps the word for
itself). All are loaded when first used, so that ``import gptfl`` is light.
"""

import importlib

# As typing has it, which takes longer to load than all of this.
TYPE_CHECKING = False

if TYPE_CHECKING:
    __version__: str
    from gptfl.api.attribute import attribute
    from gptfl.api.check import check
    from gptfl.api.compare import compare
    from gptfl.api.doctor import doctor
    from gptfl.api.learning_curve import learning_curve
    from gptfl.api.rank import rank
    from gptfl.api.recording import Recording, collect, open_recording
    from gptfl.api.relabel_study import relabel_study
    from gptfl.api.removal_study import removal_study
    from gptfl.api.report import write_report
    from gptfl.api.select import select
    from gptfl.api.select_study import select_study
    from gptfl.api.serve import serve
    from gptfl.api.simulate import simulate
    from gptfl.api.simulator import Simulator, fit, open_simulator
    from gptfl.api.sweep import sweep
    from gptfl.api.verify import verify
    from gptfl.features.featurize import featurize
    from gptfl.interchange.apply_rows import apply
    from gptfl.interchange.export_recording import export
    from gptfl.interchange.import_recording import import_
    from gptfl.options.recipe import read_recipe
    from gptfl.recorder.callback import GptflCallback
    from gptfl.recorder.recorder import Recorder
    from gptfl.recording.inspect import inspect
    from gptfl.recording.inspect_data import inspect_data
    from gptfl.report.saving import plot, save

_WHERE = {
    "GptflCallback": "recorder.callback",
    "Recorder": "recorder.recorder",
    "Recording": "api.recording",
    "Simulator": "api.simulator",
    "apply": "interchange.apply_rows",
    "attribute": "api.attribute",
    "check": "api.check",
    "collect": "api.recording",
    "compare": "api.compare",
    "doctor": "api.doctor",
    "export": "interchange.export_recording",
    "featurize": "features.featurize",
    "fit": "api.simulator",
    "import_": "interchange.import_recording",
    "inspect": "recording.inspect",
    "inspect_data": "recording.inspect_data",
    "learning_curve": "api.learning_curve",
    "open_recording": "api.recording",
    "open_simulator": "api.simulator",
    "plot": "report.saving",
    "rank": "api.rank",
    "read_recipe": "options.recipe",
    "relabel_study": "api.relabel_study",
    "removal_study": "api.removal_study",
    "save": "report.saving",
    "select": "api.select",
    "select_study": "api.select_study",
    "serve": "api.serve",
    "simulate": "api.simulate",
    "sweep": "api.sweep",
    "verify": "api.verify",
    "write_report": "api.report",
}
"""Where each of these is."""

__all__ = [
    "GptflCallback",
    "Recorder",
    "Recording",
    "Simulator",
    "apply",
    "attribute",
    "check",
    "collect",
    "compare",
    "doctor",
    "export",
    "featurize",
    "fit",
    "import_",
    "inspect",
    "inspect_data",
    "learning_curve",
    "open_recording",
    "open_simulator",
    "plot",
    "rank",
    "read_recipe",
    "relabel_study",
    "removal_study",
    "save",
    "select",
    "select_study",
    "serve",
    "simulate",
    "sweep",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("gptfl")
    if name in __all__:
        return getattr(importlib.import_module(f"gptfl.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'gptfl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
