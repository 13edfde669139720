"""Fits simulators to recordings, and asks them about runs that were never carried out."""
