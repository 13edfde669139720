"""``python -m gptfl`` is ``gptfl``."""

from gptfl.cli.main import run

run()
