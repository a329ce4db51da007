"""Rates are counted in Redis for all processes, and still apply while Redis is down."""

import logging
import tempfile
import time
from pathlib import Path

import pytest
import time_machine
from django.core.cache import caches

from almaFintech.api.rates import Count, Rate, counters
from almaFintech.tests.redis import Redis
from almaFintech.tests.servers import PRODUCTION, evaluate, python
from conftest import PASSWORD

pytestmark = pytest.mark.server

SETTINGS = "almaFintech.settings"
ELSEWHERE = "198.51.100.2"


@pytest.fixture
def server():
    # The path of a socket has at most 107 bytes, and pytest's own folders are deep.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = Redis(Path(folder))
        yield server
        server.kill()


@pytest.fixture
def redis(server, settings):
    """A Redis server that this process uses as a production server would."""
    settings.CACHES = evaluate("s.CACHES", REDIS_URL=server.url)
    counters.until = 0.0
    settings.LOGIN_RATE_PER_ADDRESS = "3/d"
    caches["process"].clear()
    # No day ends during the test.
    with time_machine.travel("2027-01-15 12:00 +0000"):
        yield server
    counters.until = 0.0
    for cache in caches.all(initialized_only=True):
        cache.close()


def fail(client, **extra):
    login = {"username": "alice", "password": "wrong"}
    return client.post("/api/login/", login, format="json", **extra)


def log_in(client, **extra):
    login = {"username": "alice", "password": PASSWORD}
    return client.post("/api/login/", login, format="json", **extra)


def test_all_processes_count_together(redis):
    code = """
import django; django.setup()
from almaFintech.api.rates import Count, Rate
print([Count(Rate(5, 10**9), "a", "b").add() for _ in range(3)])
"""
    environment = {**PRODUCTION, "REDIS_URL": redis.url, "DJANGO_SETTINGS_MODULE": SETTINGS}

    answers = [python("-c", code, **environment) for _ in range(2)]

    assert [answer.stderr for answer in answers] == ["", ""]
    assert [answer.stdout.strip() for answer in answers] == [
        "[True, True, True]",
        "[True, True, False]",
    ]
    assert Count(Rate(5, 10**9), "a", "b").is_full()


def test_logins_work_after_redis_dies(alice, anyone, redis, caplog):
    assert [fail(anyone).status_code for _ in range(2)] == [401, 401]
    redis.kill()

    # This process now counts for itself, from 0.
    answers = [fail(anyone).status_code for _ in range(4)]

    assert answers == [401, 401, 401, 429]
    assert log_in(anyone).status_code == 429
    assert log_in(anyone, REMOTE_ADDR=ELSEWHERE).status_code == 200
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    [error] = [record for record in errors if record.name == "almaFintech.api.rates"]
    assert error.getMessage().startswith("Redis is down, and each process counts for itself: ")
    assert errors == [error]


def test_redis_counts_again_after_a_restart(alice, anyone, redis):
    redis.kill()
    assert [fail(anyone).status_code for _ in range(4)] == [401, 401, 401, 429]

    redis.start()
    counters.until = 0.0

    assert [fail(anyone).status_code for _ in range(4)] == [401, 401, 401, 429]


def test_a_redis_that_hangs_delays_one_login(alice, anyone, redis):
    assert log_in(anyone).status_code == 200
    redis.hang()

    start = time.monotonic()
    for _ in range(3):
        assert log_in(anyone).status_code == 200
    spent = time.monotonic() - start

    # One wait of SOCKET_TIMEOUT, not one for each command.
    assert 1 <= spent < 3


def test_a_user_rate_holds_while_redis_is_down(alice, redis, settings):
    settings.USER_RATE = "2/d"
    redis.kill()

    assert [alice.get("/api/accounts/").status_code for _ in range(3)] == [200, 200, 429]
