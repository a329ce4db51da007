"""Request ids, the log line of each request, and its duration in the metrics."""

import logging
import re
import time
import uuid
from collections.abc import Callable

import structlog
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Histogram

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
# Any other method would add a permanent time series.
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

REQUEST_SECONDS = Histogram(
    "wallet_http_request_seconds",
    "Time from the arrival of a request to the first byte of its response.",
    ["view", "method", "status"],
)
REJECTIONS = Counter(
    "wallet_http_rejections", "Requests that were rejected before they got a thread.", ["code"]
)


class RequestMiddleware:
    """Give each request the id that its client sent, or a new one, and log its end."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = request.headers.get(HEADER, "")
        if not re.fullmatch(r"[\x21-\x7e]{1,64}", request_id):
            request_id = uuid.uuid4().hex
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            start = time.perf_counter()
            response = self.get_response(request)
            seconds = time.perf_counter() - start

            method = request.method if request.method in METHODS else "other"
            match = request.resolver_match
            view = (match and match.view_name) or "none"
            REQUEST_SECONDS.labels(view, method, response.status_code).observe(seconds)
            logger.info(
                "request",
                extra={
                    "method": method,
                    "view": view,
                    "ids": _numbers(match.kwargs if match else {}),
                    "status": response.status_code,
                    "milliseconds": round(seconds * 1000, 1),
                    "user": _user_id(request),
                },
            )
        response.headers[HEADER] = request_id
        return response


def _numbers(kwargs: dict[str, object]) -> dict[str, str]:
    """Return the ids in a path; clients may send anything in its other parts."""
    return {name: str(value) for name, value in kwargs.items() if re.fullmatch(r"\d+", str(value))}


def _user_id(request: HttpRequest) -> int | None:
    """Return the id of the user if it is already loaded, because a query could fail."""
    # The API's views set `user`, Django's sessions `_cached_user`.
    user = request.__dict__.get("_cached_user") or request.__dict__.get("user")
    return user.pk if type(user) is User else None
