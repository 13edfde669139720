"""Runs as tasks of a Ray cluster for gptfl."""
