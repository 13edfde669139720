"""TracIn and Grad-Dot for gptfl: what gradients foretell of a training run."""
