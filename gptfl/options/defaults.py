"""Which of gptfl's own estimators a command takes unless one is named: the only place that knows them by name."""

PAPER = "gptfluence"
"""The paper's."""
FEW_RUNS = "exposure-gp"
"""What makes the most of few runs, where the recording has gradients."""
ON_TEXT, FEWEST_ON_TEXT = "through-loss", 3
"""What metrics of generated text are predicted by, where the recording has gradients and the loss, from so many runs on."""
ON_GRADIENTS = "gradients"
"""The encoder of the features with which ``FEW_RUNS`` is taken rather than ``PAPER``."""
