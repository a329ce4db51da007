"""Translation of errors into HTTP responses, for the whole server."""

import logging
from typing import Any

from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import defaults
from rest_framework.exceptions import ErrorDetail
from rest_framework.response import Response
from rest_framework.views import exception_handler as rest_framework_handler

from almaFintech.api.responses import in_json
from almaFintech.db.failures import is_lock_timeout, reason_of
from almaFintech.refusals import (
    BadRequest,
    Busy,
    Conflict,
    DatabaseUnavailable,
    ServerError,
    Unstorable,
    WalletError,
)

logger = logging.getLogger(__name__)


def translated(error: Exception) -> Exception:
    """Return the WalletError for `error`, or `error` itself if there is none."""
    match error:
        case WalletError():
            return error
        case OperationalError() if is_lock_timeout(error):
            logger.warning("A lock was not free in time: %s", reason_of(error))
            return Busy()
        case OperationalError() | InterfaceError():
            logger.error("The database is not available: %s", reason_of(error))
            return DatabaseUnavailable()
        case IntegrityError():
            logger.warning("The database refused a row: %s", reason_of(error))
            return Conflict()
        case DataError() | UnicodeEncodeError():
            return Unstorable()
        case ValidationError():
            return Unstorable(" ".join(error.messages))
        case SuspiciousOperation():
            # Such as more parameters than DATA_UPLOAD_MAX_NUMBER_FIELDS.
            return BadRequest()
    return error


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response to an error of a view: `{"detail": ..., "code": ...}`, or by field."""
    error = translated(error)
    if isinstance(error, WalletError):
        return Response(error.body(), error.status_code, headers=error.headers())
    response = rest_framework_handler(error, context)
    if response is not None and isinstance(response.data, dict):
        detail = response.data.get("detail")
        if isinstance(detail, ErrorDetail):
            response.data.setdefault("code", detail.code)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Return the response to a request that Django refuses before any view."""
    return in_json(request.path, BadRequest()) or defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Return the response to an unexpected exception."""
    return in_json(request.path, ServerError()) or defaults.server_error(request)
