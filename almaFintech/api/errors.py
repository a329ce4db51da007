"""The one door by which errors become HTTP responses."""

import logging
from typing import Any

from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import defaults
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework.response import Response
from rest_framework.views import exception_handler as rest_framework_handler

from almaFintech.api.responses import in_json
from almaFintech.db.failures import is_lock_timeout, reason_of
from almaFintech.refusals import RETRY_AFTER_SECONDS

logger = logging.getLogger(__name__)

DATABASE_AWAY = (OperationalError, InterfaceError)


class DatabaseUnavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database is not available. Try again later."
    default_code = "database_unavailable"
    wait = RETRY_AFTER_SECONDS


class Busy(APIException):
    """Somebody keeps locked what this request needs, or all threads are taken."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The server is busy. Try again later."
    default_code = "busy"
    wait = 1


class RequestTimeout(APIException):
    status_code = status.HTTP_408_REQUEST_TIMEOUT
    default_detail = "The body of the request did not arrive in time."
    default_code = "request_timeout"


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
            headers={"Retry-After": str(wait)} if (wait := getattr(error, "wait", None)) else None,
        )
    response = rest_framework_handler(as_api_exception(error), context)
    if response is not None and isinstance(response.data, dict):
        detail = response.data.get("detail")
        if isinstance(detail, ErrorDetail):
            response.data.setdefault("code", detail.code)
            response.data |= getattr(error, "details", {})
    return response


def as_api_exception(error: Exception) -> Exception:
    if isinstance(error, OperationalError) and is_lock_timeout(error):
        logger.warning("A lock was not free in time: %s", reason_of(error))
        return Busy()
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
