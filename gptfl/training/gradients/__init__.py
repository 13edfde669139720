"""Exact per-example gradients of the loss, never held whole: their dot products, sketches and directional derivatives."""
