"""The wallet server. The OpenAPI document, the probes and the changelog name this version."""

__version__ = "1.0.0"
