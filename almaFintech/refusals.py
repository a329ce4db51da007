"""All errors that clients see: any layer may raise them; `api/errors.py` builds the responses."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from rest_framework import status

RETRY_AFTER_SECONDS = 5


class WalletError(Exception):
    """An error that clients can act on. Subclasses set the class attributes.

    Attributes:
        default_code: the `code` that clients may rely on.
        default_detail: the message for people, unless the constructor gets another one.
        status_code: the HTTP status.
        wait: seconds after which the same request may succeed.
        details: fields of the response beside `detail` and `code`.
    """

    default_code: str
    default_detail: str
    status_code: int
    wait: int | None = None

    def __init__(
        self, detail: str | None = None, *, details: Mapping[str, Any] | None = None
    ) -> None:
        self.detail = detail or self.default_detail
        self.details = details or {}
        super().__init__(self.detail)

    @classmethod
    def kinds(cls) -> Iterator[type[Self]]:
        """Yield the subclasses that have a code."""
        for kind in cls.__subclasses__():
            if hasattr(kind, "default_code"):
                yield kind
            yield from kind.kinds()

    def body(self) -> dict[str, Any]:
        return {**self.details, "detail": self.detail, "code": self.default_code}

    def headers(self) -> dict[str, str]:
        return {} if self.wait is None else {"Retry-After": str(self.wait)}


class Refusal(WalletError, ValidationError):
    """A valid request that a rule refuses; it has changed nothing.

    index: the position of the refused object among several, from 0. Only the response of
        `of_item()` contains it.
    """

    status_code: int = status.HTTP_400_BAD_REQUEST

    def __init__(
        self,
        detail: str | None = None,
        *,
        index: int = 0,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail, details=details)
        self.code = self.default_code
        self.index = index

    def of_item(self) -> Self:
        """Return the same refusal with the `index` of the refused item in its response."""
        return type(self)(self.detail, index=self.index, details={"index": self.index})


class BadRequest(WalletError):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "bad_request"
    default_detail = "The request is malformed."


class Unstorable(WalletError):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "invalid"
    default_detail = "A value cannot be stored in the database."


class RequestTimeout(WalletError):
    status_code = status.HTTP_408_REQUEST_TIMEOUT
    default_code = "request_timeout"
    default_detail = "The body of the request did not arrive in time."


class Conflict(WalletError):
    """The database refused a row that was valid when it was checked, a moment earlier."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"
    default_detail = "Another request changed the same data at the same time."


class LengthRequired(WalletError):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length_required"
    default_detail = "The request must declare the length of its body: Content-Length is missing."


class BodyTooLarge(WalletError):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"

    def __init__(self) -> None:
        super().__init__(f"The body may have at most {settings.MAX_BODY_BYTES} bytes.")


class UnsupportedCharset(WalletError):
    status_code = status.HTTP_415_UNSUPPORTED_MEDIA_TYPE
    default_code = "unsupported_media_type"
    default_detail = "The charset must be UTF-8."


class ServerError(WalletError):
    status_code = status.HTTP_500_INTERNAL_SERVER_ERROR
    default_code = "server_error"
    default_detail = "Internal server error."


class Busy(WalletError):
    """Another request holds a lock that this one needs, or all threads are taken."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "busy"
    default_detail = "The server is busy. Try again later."
    wait = 1


class DatabaseUnavailable(WalletError):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "database_unavailable"
    default_detail = "The database is not available. Try again later."
    wait = RETRY_AFTER_SECONDS
