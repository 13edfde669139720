"""Metrics recorded beside the loss, by way of the loss."""
