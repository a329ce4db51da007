"""Tests of the whole server while it is being killed: `python -m crashtest.bank`."""
