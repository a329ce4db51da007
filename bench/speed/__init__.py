"""The speed of the server beside yardsticks: `python -m bench.speed`, see docs/performance.md."""
