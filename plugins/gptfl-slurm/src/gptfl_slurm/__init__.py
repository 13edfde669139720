"""Runs as Slurm jobs for gptfl."""
