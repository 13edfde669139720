"""Recordings of training that gptfl doesn't carry out: of a transformers Trainer, or of any loop."""
