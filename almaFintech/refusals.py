"""The family of refusals, which every floor may raise and `api/errors.py` answers."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import status

RETRY_AFTER_SECONDS = 5


class Refusal(ValidationError):
    """A request that is understood and refused, and that has changed nothing.

    A subclass gives the `code` that clients may rely on, and where it differs the HTTP status.
    """

    code: str
    default_message: str
    # What the answer tells beside `detail` and `code`.
    details: Mapping[str, Any] = {}
    status_code: int = status.HTTP_400_BAD_REQUEST
    # Seconds after which the same request may well be granted.
    wait: int | None = None

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.default_message, code=self.code)
