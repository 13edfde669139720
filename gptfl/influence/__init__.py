"""The influence of single training examples: attribution, ranking and selection."""
