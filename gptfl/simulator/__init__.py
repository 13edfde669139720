"""The mathematics of simulating training dynamics, as pure array functions."""
