"""Password hashes: their cost, their concurrency, and the renewal of older ones."""

import threading
import time
from typing import Any

import pytest
from argon2 import extract_parameters
from django.contrib.auth.hashers import Argon2PasswordHasher, PBKDF2PasswordHasher, make_password
from django.contrib.auth.models import User

from conftest import PASSWORD, Person
from login import backends, hashers
from login.hashers import Argon2Hasher, PBKDF2Hasher, most_at_once

LOGIN = {"username": "alice", "password": PASSWORD}


@pytest.fixture(autouse=True)
def real_hashers(settings, quick_passwords):
    settings.PASSWORD_HASHERS = ["login.hashers.Argon2Hasher", "login.hashers.PBKDF2Hasher"]


def stored():
    return User.objects.get(username="alice").password


def test_a_hash_has_the_parameters_of_owasp(db):
    Person.join("alice")

    found = extract_parameters(stored().removeprefix("argon2"))
    assert (found.memory_cost, found.time_cost, found.parallelism) == (19456, 2, 1)
    assert found.type.name == "ID"


@pytest.mark.parametrize("older", [Argon2PasswordHasher, PBKDF2PasswordHasher])
def test_an_older_hash_is_renewed_at_login(alice, anyone, older):
    hasher = older()
    before = hasher.encode(PASSWORD, hasher.salt())
    User.objects.update(password=before)

    wrong = anyone.post("/api/login/", LOGIN | {"password": "wrong"}, format="json")
    assert (wrong.status_code, stored()) == (401, before)
    response = anyone.post("/api/login/", LOGIN, format="json")

    assert response.status_code == 200
    assert stored().startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    # The tokens of this login are made with the new hash.
    access = {"Authorization": f"Bearer {response.json()['access']}"}
    assert anyone.get("/api/accounts/", headers=access).status_code == 200
    renewed = stored()
    assert anyone.post("/api/login/", LOGIN, format="json").status_code == 200
    assert stored() == renewed


@pytest.mark.parametrize(
    ("now", "status"), [(PASSWORD, 200), ("a changed password", 401)], ids=["login", "change"]
)
def test_a_hash_that_changes_while_it_is_renewed_stays(alice, anyone, monkeypatch, now, status):
    """Another request renews it at the same time, or changes the password."""
    quicker = Argon2Hasher().encode(now, "a-salt-of-22-characters")
    hasher = PBKDF2Hasher()
    User.objects.update(password=hasher.encode(PASSWORD, hasher.salt()))

    def hash_slowly(raw):
        User.objects.update(password=quicker)
        return make_password(raw)

    monkeypatch.setattr(backends, "make_password", hash_slowly)
    response = anyone.post("/api/login/", LOGIN, format="json")

    assert (response.status_code, stored()) == (status, quicker)
    if status == 200:
        access = {"Authorization": f"Bearer {response.json()['access']}"}
        assert anyone.get("/api/accounts/", headers=access).status_code == 200


@pytest.mark.parametrize(("cores", "workers", "most"), [(8, 2, 4), (8, 3, 2), (2, 2, 1), (1, 4, 1)])
def test_the_workers_share_the_cores(settings, monkeypatch, cores, workers, most):
    monkeypatch.setattr(hashers, "usable_cores", lambda: cores)
    settings.SERVE_WORKERS = workers

    assert most_at_once() == most


@pytest.mark.parametrize("hasher", [Argon2Hasher, PBKDF2Hasher])
def test_the_number_of_concurrent_hashes_is_limited(monkeypatch, hasher):
    hasher = hasher()
    # A waiting thread gives up after WAIT_SECONDS, also on a slow machine.
    hasher.iterations = 10_000
    monkeypatch.setattr(hashers, "turns", threading.BoundedSemaphore(2))
    running, seen, lock = [0], [], threading.Lock()

    def count(work):
        def counted(*args, **kwargs):
            with lock:
                running[0] += 1
                seen.append(running[0])
            time.sleep(0.02)
            try:
                return work(*args, **kwargs)
            finally:
                with lock:
                    running[0] -= 1

        return counted

    # Django's class that computes the hash.
    base: Any = type(hasher).__base__
    encoded = hasher.encode(PASSWORD, "a-salt-of-22-characters")
    monkeypatch.setattr(base, "encode", count(base.encode))
    if hasher.algorithm == "argon2":
        monkeypatch.setattr(base, "verify", count(base.verify))
    threads = [
        threading.Thread(target=work)
        for work in [
            lambda: hasher.verify(PASSWORD, encoded),
            lambda: hasher.encode(PASSWORD, "a-salt-of-22-characters"),
        ]
        * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (len(seen), max(seen)) == (6, 2)


def test_a_login_that_waits_too_long_is_asked_to_retry(alice, client, anyone, monkeypatch):
    turns = threading.BoundedSemaphore(1)
    monkeypatch.setattr(hashers, "turns", turns)
    monkeypatch.setattr(hashers, "WAIT_SECONDS", 0.01)
    with turns:
        response = anyone.post("/api/login/", LOGIN, format="json")
        admin = client.post("/admin/login/", LOGIN)

    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert response.json() == {"detail": "The server is busy. Try again later.", "code": "busy"}
    assert (admin.status_code, admin["Retry-After"]) == (503, "1")
    # The turn was released, and nothing was counted as a failure.
    assert anyone.post("/api/login/", LOGIN, format="json").status_code == 200
