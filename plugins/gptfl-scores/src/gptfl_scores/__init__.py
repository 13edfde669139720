"""Influence scores computed elsewhere, as an estimator for gptfl."""
