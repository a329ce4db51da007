"""Clocks for what happens only so often in a day or a minute."""

import time
from types import SimpleNamespace

# The module `time` for code that counts by the clock: always noon, while time passes.
NOON = SimpleNamespace(time=lambda: 1_800_014_400.0, monotonic=time.monotonic)
