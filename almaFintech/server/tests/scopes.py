"""Requests in the form in which granian passes them."""

from types import SimpleNamespace
from typing import Any

from granian.rsgi import Scope


def scope(headers: list[tuple[str, str]]) -> Scope:
    """Return a request in the form that granian passes."""
    request: Any = SimpleNamespace(
        method="GET",
        path="/ä",
        query_string="a=%ff",
        http_version="1.1",
        scheme="http",
        server="[::1]:80",
        client="[2001:db8::1]:9",
        headers=dict(headers),
    )
    return request
