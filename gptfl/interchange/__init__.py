"""Recordings in the formats of others: imported, exported, never in HDF5."""
