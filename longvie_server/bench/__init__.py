"""Benchmarks: each measures this project beside the plain way to do the same, in the same run."""
