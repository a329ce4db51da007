"""The wallet server. The OpenAPI document, the probes and the changelog name this version."""

__version__ = "1.0.0"

# The exit status of a server or worker that refuses its configuration.
EXIT_STATUS = 3
