"""The executor gptfl brings: this process, or several of this machine."""

from gptfl.executors.local import Local

__all__ = ["Local"]
