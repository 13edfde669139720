"""Which examples each run of a recording is trained on, and what can be learned from that."""
