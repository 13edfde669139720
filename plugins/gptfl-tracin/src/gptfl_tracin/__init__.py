"""TracIn and Grad-Dot for gptfl: what gradients predict of a training run."""
