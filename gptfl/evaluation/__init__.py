"""Holds predictions against recorded runs and against real training."""
