"""Crash tests of the whole server: `python -m crashtest.bank`."""
