"""Recordings, features, simulators and predictions on disk: the only place that knows HDF5."""
