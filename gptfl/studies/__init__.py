"""Experiments made of the other parts: sweeps, learning curves, relabelling and selection."""
