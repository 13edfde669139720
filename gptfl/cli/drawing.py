"""A process that loads what draws while the command computes, and draws then: matplotlib takes as long as a simulation."""

import multiprocessing
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptfl.cli.loading import uncollected
from gptfl.errors import GptflError, ResourceError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from gptfl.simulation.outcome import Simulation


class DrawingProcess:
    """Draws a simulation beside the command, by what ``serve_pictures`` does at the other end of a pipe."""

    def __init__(self, pipe: "Connection") -> None:
        self._pipe = pipe

    @classmethod
    def start(cls) -> "DrawingProcess":
        """Starts the process. It ends with the command, and by the signals that end that."""
        context: Any = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        context.Process(target=serve_pictures, args=(ours, theirs), daemon=True).start()
        theirs.close()
        return cls(ours)

    @staticmethod
    def is_possible() -> bool:
        """Whether this process may be copied: what computes has threads, which a copy would lack."""
        return "fork" in multiprocessing.get_all_start_methods() and "numpy" not in sys.modules

    def draw(self, result: "Simulation", path: Path) -> None:
        """Write the picture of a simulation. Raises as ``draw_simulation`` does, and where the process is gone."""
        from gptfl.report.simulation import figure_arguments

        try:
            self._pipe.send((figure_arguments(result), path))
            problem = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ResourceError(f"{path} can't be drawn: the process that draws has ended", "try again") from error
        if problem is not None:
            kind, text, remedy = problem
            raise kind(text, remedy) if issubclass(kind, GptflError) else kind(text)


def serve_pictures(ours: "Connection", theirs: "Connection") -> None:
    """What the process does: draws what comes in at ``theirs``, once, and answers with what was wrong or None."""
    ours.close()  # else the end of the command would go unnoticed
    try:
        with uncollected():
            from gptfl.report.pictures import new_figure, save_figure
            from gptfl.report.simulation_plot import simulation_figure

            new_figure(1, 1).add_subplot()
        arguments, path = theirs.recv()
        save_figure(simulation_figure(**arguments), path)
    except EOFError:
        return  # nothing is to be drawn
    except GptflError as error:
        theirs.send((type(error), error.problem, error.remedy))
    except Exception as error:
        theirs.send(sendable(error))
    else:
        theirs.send(None)


def sendable(error: Exception) -> tuple[type[Exception], str, str]:
    """An exception of any kind, as one that can be sent."""
    builtin = type(error).__module__ == "builtins" and type(error).__init__ is not Exception.__init__
    return (type(error) if builtin else RuntimeError), str(error), ""
