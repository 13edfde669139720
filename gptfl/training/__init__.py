"""Fine-tunes a causal language model and reports what it scores along the way; knows no file format."""
