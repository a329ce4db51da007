"""Health checks, metrics and the access to them."""

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from redis.exceptions import ConnectionError as RedisDown

from almaFintech import __version__


@pytest.fixture(autouse=True)
def as_in_production(settings):
    settings.DEBUG = False
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["wallet.example"]


@pytest.fixture
def probe(client):
    def get(path, method="get", **headers):
        # By address, like a load balancer.
        return getattr(client, method)(path, headers={"Host": "10.1.2.3:8000", **headers})

    return get


def test_healthz_needs_no_database(probe):
    # No `db` fixture: a query would be an error here.
    response = probe("/healthz")

    assert (response.status_code, response.json()) == (
        200,
        {"status": "ok", "version": __version__},
    )
    assert response["Cache-Control"] == "no-store"
    assert "X-Request-ID" not in response


def test_ready_when_everything_is_up(db, probe):
    response = probe("/readyz")

    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "database": "ok",
        "migrations": "ok",
        "cache": "none",
    }


@pytest.fixture
def migrations_put_back(transactional_db):
    """Restore the migration, for tests that commit because /readyz has its own connection."""
    yield
    MigrationRecorder(connection).record_applied("accounts", "0002_append_only_entries")


def test_not_ready_while_migrations_are_unapplied(migrations_put_back, probe):
    MigrationRecorder(connection).record_unapplied("accounts", "0002_append_only_entries")

    response = probe("/readyz")

    assert (response.status_code, response.json()["status"]) == (503, "unavailable")
    assert response.json()["migrations"] == "unapplied"


def test_not_ready_while_the_database_is_down(db, probe, monkeypatch):
    def fail(self):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(MigrationRecorder, "applied_migrations", fail)
    response = probe("/readyz")

    assert (response.status_code, response.json()) == (
        503,
        {"status": "unavailable", "database": "away", "migrations": "unknown", "cache": "none"},
    )


def test_ready_but_degraded_without_redis(db, probe, settings):
    # Nothing listens on port 1.
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    response = probe("/readyz")

    assert response.status_code == 200
    assert (response.json()["status"], response.json()["cache"]) == ("degraded", "away")


def test_not_degraded_with_redis(db, probe, settings, monkeypatch):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr("redis.Redis.ping", lambda self: True)
    assert probe("/readyz").json()["status"] == "ok"
    assert probe("/readyz").json()["cache"] == "ok"

    def fail(self):
        raise RedisDown

    monkeypatch.setattr("redis.Redis.ping", fail)
    assert probe("/readyz").json()["status"] == "degraded"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_are_read_only(probe, path):
    response = probe(path, "post")

    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


def test_nobody_may_read_the_metrics_by_default(probe):
    assert probe("/metrics").status_code == 403
    # An empty token is no token.
    assert probe("/metrics", Authorization="Bearer ").status_code == 403


def test_an_allowed_address_may_read_the_metrics(probe, settings):
    settings.METRICS_ALLOWED = ["10.0.0.0/8", "127.0.0.0/8"]
    response = probe("/metrics")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE wallet_http_request_seconds histogram" in response.content
    assert f'wallet_build_info{{version="{__version__}"}} 1.0'.encode() in response.content

    # Behind a proxy the address is the proxy's and identifies nobody.
    for header in "X-Forwarded-For", "Forwarded", "Via", "X-Real-IP":
        assert probe("/metrics", **{header: "127.0.0.1"}).status_code == 403

    settings.METRICS_ALLOWED = ["10.0.0.0/8"]
    assert probe("/metrics").status_code == 403


def test_a_token_gives_access_to_the_metrics(probe, settings):
    settings.METRICS_TOKEN = "a quiet river of numbers"

    assert probe("/metrics", Authorization="Bearer a quiet river").status_code == 403
    for scheme in "", "Basic ", "Bearer":
        without = f"{scheme}{settings.METRICS_TOKEN}"
        assert probe("/metrics", Authorization=without).status_code == 403
    right = {"Authorization": f"Bearer {settings.METRICS_TOKEN}", "X-Forwarded-For": "8.8.8.8"}
    assert probe("/metrics", **right).status_code == 200
