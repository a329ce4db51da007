"""Programs that put the whole server to the test, from outside: `python -m crashtest.bank`."""
