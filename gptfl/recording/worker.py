"""One of several processes that record one run together, as ``launch`` starts it."""

import json
import os
import threading
import traceback
from dataclasses import asdict
from typing import Any

from gptfl import errors
from gptfl.errors import GptflError, is_memory_full
from gptfl.options.files import from_json
from gptfl.options.recording import CollectOptions


def work() -> None:
    """Be one of the processes that ``launch`` starts."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed is no word to the process that listens
    with os.fdopen(0, encoding="utf-8", closefd=False) as given:
        arguments = json.loads(given.readline())
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    telling = threading.Lock()

    def say(kind: str, **word: Any) -> None:
        with telling:
            out.write(json.dumps({"kind": kind, **word}, default=str) + "\n")
            out.flush()

    def report(what: str, done: int, total: int, note: str = "") -> None:
        say("progress", given=(what, done, total, note))

    try:
        from gptfl.recording.collect import record
        from gptfl.recording.launch import is_first_process
        from gptfl.training.distributed import leave

        options = from_json(CollectOptions, arguments, "what the process that started this one says")
        result = record(options, progress=report, announce=lambda plan: say("estimate", given=asdict(plan)))
        leave()
        if is_first_process():
            say("result", given={**asdict(result), "estimate": None})
    except GptflError as error:
        kind = next(base.__name__ for base in type(error).__mro__ if base.__module__ == errors.__name__)
        say("refused", error=kind, problem=error.problem, remedy=error.remedy)
    except Exception as error:
        if is_memory_full(error):
            first = str(error).strip().split("\n")[0] or type(error).__name__
            remedy = "see what else runs there, or ask for less at a time (--accumulate, --train-layers, --shard)"
            say("refused", error="ResourceError", problem=f"memory is full: {first}", remedy=remedy)
        else:
            say("crashed", trace=traceback.format_exc())


def _end_with_the_starter() -> None:
    """End this process as soon as the one that started it is gone, which closes the pipe between them."""
    while os.read(0, 1):
        pass
    os._exit(1)
