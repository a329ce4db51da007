"""One family of refusals, and the one door by which errors become HTTP answers."""

import codecs
import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import defaults
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework.response import Response
from rest_framework.views import exception_handler as rest_framework_handler

from almaFintech.logs import reason_of
from almaFintech.responses import in_json, refusal

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
DATABASE_AWAY = (OperationalError, InterfaceError)


class Refusal(ValidationError):
    """A request that is understood and refused, and that has changed nothing.

    A subclass gives the `code` that clients may rely on, and where it differs the HTTP status.
    """

    code: str
    default_message: str
    # What the answer tells beside `detail` and `code`.
    details: Mapping[str, Any] = {}
    status_code: int = status.HTTP_400_BAD_REQUEST

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.default_message, code=self.code)


class DatabaseUnavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database is not available. Try again later."
    default_code = "database_unavailable"
    wait = RETRY_AFTER_SECONDS


class Busy(APIException):
    """Too much is waiting for the same thing."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The server is busy. Try again later."
    default_code = "busy"
    wait = 1


class Conflict(APIException):
    """The database refused a row that was fine when it was checked, a moment earlier."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "Another request changed the same data at the same time."
    default_code = "conflict"


class Unstorable(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = "A value cannot be stored in the database."
    default_code = "invalid"


class BadRequest(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = "The request is malformed."
    default_code = "bad_request"


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer what a view raised as `{"detail": ..., "code": ...}`, or errors by field."""
    if isinstance(error, ValidationError):
        code = getattr(error, "code", None) or "invalid"
        return Response(
            {
                **getattr(error, "details", {}),
                "detail": " ".join(error.messages),
                "code": code,
            },
            status=getattr(error, "status_code", status.HTTP_400_BAD_REQUEST),
        )
    response = rest_framework_handler(_as_api_exception(error), context)
    if response is not None and isinstance(response.data, dict):
        detail = response.data.get("detail")
        if isinstance(detail, ErrorDetail):
            response.data.setdefault("code", detail.code)
            response.data |= getattr(error, "details", {})
    return response


def _as_api_exception(error: Exception) -> Exception:
    if isinstance(error, DATABASE_AWAY):
        logger.error("The database is not available: %s", reason_of(error))
        return DatabaseUnavailable()
    if isinstance(error, IntegrityError):
        logger.warning("The database refused a row: %s", reason_of(error))
        return Conflict()
    if isinstance(error, (DataError, UnicodeEncodeError)):
        return Unstorable()
    if isinstance(error, SuspiciousOperation):
        # Such as more parameters than DATA_UPLOAD_MAX_NUMBER_FIELDS.
        return BadRequest()
    return error


class ErrorMiddleware:
    """Give the pages outside the API the same answers to what no page can help."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # RFC 8259, section 8.1: JSON between systems is UTF-8. Some of the other names that
        # Python knows, such as "hex", are not even encodings of text.
        if request.encoding and codecs.lookup(request.encoding).name not in ("utf-8", "ascii"):
            return refusal(
                request.path,
                "The charset must be UTF-8.",
                "unsupported_media_type",
                status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
            )
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        answer = _as_api_exception(error)
        if not isinstance(answer, APIException):
            return None
        wait = getattr(answer, "wait", None)
        return HttpResponse(
            str(answer.detail),
            status=answer.status_code,
            headers={"Retry-After": str(wait)} if wait else None,
        )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer what Django refuses before a view."""
    error = BadRequest
    return in_json(
        request.path, error.default_detail, error.default_code, error.status_code
    ) or defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer an error of ours."""
    return in_json(
        request.path,
        "An error of the server.",
        "server_error",
        status.HTTP_500_INTERNAL_SERVER_ERROR,
    ) or defaults.server_error(request)
