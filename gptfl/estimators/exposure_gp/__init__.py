"""A Gaussian process over how exposures move a run away from the average run."""
