"""The vectors of the examples of a recording: made, found, and extended to new examples."""
