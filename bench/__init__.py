"""Measurements, run by hand: `python -m bench.mutants`, `python -m bench.size`."""
