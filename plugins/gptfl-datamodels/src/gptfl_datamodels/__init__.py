"""Linear datamodels for gptfl."""
