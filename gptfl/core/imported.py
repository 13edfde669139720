"""What a recording that was imported does and doesn't know of its origin."""

from collections.abc import Mapping
from typing import Any

IMPORTED = "imported"
"""The task of an imported recording."""
UNKNOWN_RATE = 1.0
"""The learning rate of every step of a recording whose own are not known: only their proportions matter to a fit."""


def is_imported(settings: Mapping[str, Any]) -> bool:
    """Whether these are the settings of a recording that ``gptfl import`` made."""
    return settings.get("task") == IMPORTED and "layout" in settings


def lacks_rates(settings: Mapping[str, Any]) -> bool:
    """Whether the learning rates that a recording holds stand for unknown ones."""
    return is_imported(settings) and "learning_rate" not in settings
