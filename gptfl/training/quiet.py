"""Keeps the libraries that models are loaded with from talking: what matters is told by gptfl's own errors."""

import contextlib
import logging
from collections.abc import Iterator

TALKERS = ("bitsandbytes",)
"""Packages that others import by the way, and that then advise on what nobody asked for."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' bars and advice, and what is imported beside it."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        with quiet_imports():
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Silence what packages log when peft, or transformers' Trainer, imports them by the way.

    With bitsandbytes installed, that is advice to install kernels for weights in 4 bits.
    """
    loggers = [logging.getLogger(name) for name in TALKERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
