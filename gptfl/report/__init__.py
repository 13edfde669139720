"""Tables and figures: what a reader sees of a result."""
