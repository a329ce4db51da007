"""Health checks and metrics for operators: `/healthz`, `/readyz` and `/metrics`.

They are handled before any other middleware. A probe uses the server's IP address and plain HTTP,
so neither ALLOWED_HOSTS nor the redirect to HTTPS may stop it, and its requests belong neither in
the log nor in the metrics.
"""

import hmac
import logging
import os
from collections.abc import Callable
from ipaddress import ip_address, ip_network

import redis
from django.conf import settings
from django.db import Error, connection, connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Gauge,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from almaFintech import __version__
from almaFintech.db.failures import reason_of
from almaFintech.db.schema_state import unapplied_migrations

logger = logging.getLogger(__name__)

BUILD_INFO = Gauge(
    "wallet_build_info", "1, with the version that runs.", ["version"], multiprocess_mode="livemax"
)

# The time limit of a statement of `/readyz`. Connecting has the same limit as everywhere.
READY_SECONDS = 2

# Headers that a proxy adds. Behind one, the address of the connection is the proxy's.
PROXIED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_VIA")


class ProbeMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        probe = PROBES.get(request.path_info)
        if probe is None:
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
        response = probe(request)
        response.headers["Cache-Control"] = "no-store"
        return response


def healthz(request: HttpRequest) -> HttpResponse:
    """Return 200 as a sign of life; an orchestrator restarts a process that does not respond."""
    return JsonResponse({"status": "ok", "version": __version__})


def readyz(request: HttpRequest) -> HttpResponse:
    """Return 200 if the server can take requests: the database is up and has all migrations.

    The server works without Redis, so losing Redis only degrades it.
    """
    states = {"database": "ok", "migrations": "ok", "cache": _cache_state()}
    try:
        if _unapplied_migrations():
            states["migrations"] = "unapplied"
    except Error as error:
        logger.warning("The database is not available: %s", reason_of(error))
        states |= {"database": "away", "migrations": "unknown"}
    if (states["database"], states["migrations"]) != ("ok", "ok"):
        return JsonResponse({"status": "unavailable", **states}, status=503)
    return JsonResponse({"status": "degraded" if states["cache"] == "away" else "ok", **states})


def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics of all processes of this server, in the format of Prometheus."""
    if not _may_see_metrics(request):
        return HttpResponse(status=403)
    # Set for every request, because a forked process would not set its own value otherwise.
    BUILD_INFO.labels(__version__).set(1)
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


PROBES = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


def _unapplied_migrations() -> list[tuple[str, str]]:
    """Return the missing migrations; on PostgreSQL by a new connection, as an old one may hang."""
    if connection.vendor != "postgresql":
        return unapplied_migrations()
    own = connection.copy("readyz")
    options = own.settings_dict["OPTIONS"]
    options["options"] += f" -c statement_timeout={READY_SECONDS}s"
    # Queries find their connection by its alias.
    connections[own.alias] = own
    try:
        return unapplied_migrations(own)
    finally:
        own.close()
        del connections[own.alias]


def _cache_state() -> str:
    if not settings.REDIS_URL:
        return "none"
    # Not through the cache, which hides failures of Redis.
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1, retry=None
    )
    try:
        with client:
            client.ping()
    except redis.RedisError:
        return "away"
    return "ok"


def _may_see_metrics(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    is_bearer = bool(settings.METRICS_TOKEN) and scheme.lower() == "bearer"
    if is_bearer and hmac.compare_digest(token.encode(), settings.METRICS_TOKEN.encode()):
        return True
    if any(header in request.META for header in PROXIED):
        return False
    try:
        address = ip_address(request.META["REMOTE_ADDR"])
    except ValueError:
        # A client of a Unix socket has no address.
        return False
    return any(address in ip_network(network) for network in settings.METRICS_ALLOWED)
