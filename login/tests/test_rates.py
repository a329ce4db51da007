"""Rate limits of failed logins, for each kind of login, address and name."""

import re

import pytest
import time_machine
from django.core.management import call_command
from django.test import RequestFactory
from rest_framework_simplejwt.tokens import RefreshToken

from almaFintech.api.rates import Rate
from conftest import PASSWORD, Person
from login.rates import LOGIN, Attempt, TooManyFailedLogins, TooManyLogins

HOME, OFFICE, BAR = "192.0.2.1", "198.51.100.2", "203.0.113.3"


@pytest.fixture(autouse=True)
def small_rates(settings):
    settings.LOGIN_RATE_PER_ADDRESS = "3/m"
    settings.LOGIN_RATE_PER_USERNAME = "5/m"


@pytest.fixture(autouse=True)
def clock():
    """Stop the clock 20 seconds before the end of a minute, until a test moves it."""
    with time_machine.travel(1_800_000_040, tick=False) as clock:
        yield clock


@pytest.fixture
def log_in(anyone):
    """Return a function that logs in at the API and returns the response."""

    def log_in(username="alice", password="wrong", address=HOME):
        login = {"username": username, "password": password}
        return anyone.post("/api/login/", login, format="json", REMOTE_ADDR=address)

    return log_in


@pytest.fixture
def refresh(anyone):
    def refresh(token="garbage", address=HOME):
        body = {"refresh": str(token)}
        return anyone.post("/api/login/refresh/", body, format="json", REMOTE_ADDR=address)

    return refresh


def statuses(responses):
    return [response.status_code for response in responses]


def exhaust(log_in, username="alice"):
    """Use up the limit of one name, from addresses that nobody else uses."""
    responses = statuses(log_in(username, address=f"100.64.0.{host}") for host in range(1, 7))
    assert responses == [401] * 5 + [429]


def test_the_failures_of_an_address_are_limited_across_names(alice, bob, log_in):
    assert statuses(log_in(name) for name in ("alice", "bob", "nobody")) == [401] * 3

    response = log_in("carol")

    assert (response.status_code, response["Retry-After"]) == (429, "20")
    assert response.json() == {
        "detail": "Too many failed logins. Try again in 20 seconds.",
        "code": "too_many_failed_logins",
    }
    # Not even the right password is checked; the response would reveal that it is right.
    assert log_in("alice", PASSWORD).status_code == 429
    assert log_in("alice", PASSWORD, address=OFFICE).status_code == 200


def test_the_window_ends(alice, log_in, clock):
    assert statuses(log_in() for _ in range(4)) == [401] * 3 + [429]
    clock.shift(19)
    assert log_in("alice", PASSWORD)["Retry-After"] == "1"

    clock.shift(1)

    assert log_in("alice", PASSWORD).status_code == 200


@pytest.mark.parametrize("username", ["alice", "nobody", "admin"])
def test_the_failures_of_a_name_are_limited_across_addresses(alice, log_in, username):
    exhaust(log_in, username)

    assert log_in(username, PASSWORD).status_code == 429
    # Other names are not affected.
    assert log_in("bob").status_code == 401


def test_one_address_cannot_use_up_a_name_by_default():
    from almaFintech.settings import ENVIRONMENT

    address = Rate.parse(str(ENVIRONMENT["LOGIN_RATE_PER_ADDRESS"][1]))
    name = Rate.parse(str(ENVIRONMENT["LOGIN_RATE_PER_USERNAME"][1]))
    assert address is not None
    assert name is not None
    assert address.most / address.seconds < name.most / name.seconds


def test_nobody_can_lock_a_user_out_of_a_known_address(alice, log_in, clock):
    assert log_in("alice", PASSWORD, HOME).status_code == 200
    clock.shift(3600)

    exhaust(log_in)

    assert log_in("alice", PASSWORD, HOME).status_code == 200
    # At other addresses the user waits for the end of the minute, like anybody else.
    assert log_in("alice", PASSWORD, OFFICE).status_code == 429


def test_an_address_is_known_only_for_the_name_that_logged_in_there(alice, bob, log_in):
    assert log_in("bob", PASSWORD, HOME).status_code == 200

    exhaust(log_in)

    assert log_in("alice", PASSWORD, HOME).status_code == 429


def test_a_known_address_has_a_limit_too(alice, log_in, settings):
    settings.LOGIN_RATE_PER_ADDRESS = ""
    assert log_in("alice", PASSWORD).status_code == 200

    assert statuses(log_in() for _ in range(6)) == [401] * 5 + [429]
    assert log_in("alice", PASSWORD).status_code == 429
    # Failures there do not count against other addresses.
    assert log_in("alice", PASSWORD, OFFICE).status_code == 200


def test_a_refresh_makes_an_address_known(alice, log_in, refresh):
    assert refresh(RefreshToken.for_user(alice.user), HOME).status_code == 200

    exhaust(log_in)

    assert log_in("alice", PASSWORD, HOME).status_code == 200


def test_a_name_in_full_width_letters_is_the_same_name(alice, log_in):
    # Full-width letters, which Django stores as plain ones.
    exhaust(log_in, "\uff41lice")

    assert log_in("alice", PASSWORD).status_code == 429


def test_only_failures_count(alice, log_in, refresh):
    token = RefreshToken.for_user(alice.user)
    for _ in range(8):
        assert log_in("alice", PASSWORD).status_code == 200
        assert log_in("", "x").status_code == 400
        assert refresh(token).status_code == 200
        assert refresh("").status_code == 400


def test_a_refused_attempt_is_not_counted(alice, log_in, clock):
    """Attempts that were refused do not count in the next window."""
    assert statuses(log_in() for _ in range(50)) == [401] * 3 + [429] * 47

    clock.shift(20)

    assert statuses(log_in() for _ in range(4)) == [401] * 3 + [429]


def test_concurrent_guesses_do_not_exceed_the_limit(alice):
    """All attempts pass the first check of the counts before any of them fails."""
    request = RequestFactory().post("/api/login/", REMOTE_ADDR=HOME)
    attempts = [Attempt(LOGIN, request) for _ in range(20)]
    right = Attempt(LOGIN, request)

    heard = 0
    for attempt in attempts:
        try:
            attempt.failed()
            heard += 1
        except TooManyFailedLogins:
            pass

    assert heard == 3
    with pytest.raises(TooManyFailedLogins):
        right.succeeded(alice.user)


def test_the_logins_of_a_user_are_limited(
    alice, bob, log_in, log_in_to_admin, hashes, settings, clock
):
    """A right password costs the server as much as a wrong one."""
    settings.LOGIN_RATE_PER_USER = "3/m"
    assert statuses(log_in("alice", PASSWORD) for _ in range(3)) == [200] * 3
    hashes.clear()

    response = log_in("alice", PASSWORD, OFFICE)

    assert (response.status_code, response["Retry-After"]) == (429, "20")
    assert response.json() == {
        "detail": "Too many logins. Try again in 20 seconds.",
        "code": "too_many_logins",
    }
    assert log_in_to_admin("alice", PASSWORD).status_code == 429
    assert hashes == []
    assert log_in("bob", PASSWORD).status_code == 200
    clock.shift(20)
    assert log_in("alice", PASSWORD).status_code == 200


def test_concurrent_right_passwords_do_not_exceed_the_limit(alice, settings):
    settings.LOGIN_RATE_PER_USER = "3/m"
    attempts = [Attempt(LOGIN, RequestFactory().post("/api/login/")) for _ in range(5)]
    for attempt in attempts:
        attempt.by("alice")

    for attempt in attempts[:3]:
        attempt.succeeded(alice.user)
    with pytest.raises(TooManyLogins):
        attempts[3].succeeded(alice.user)


def test_failures_and_refreshes_do_not_count_as_logins(alice, log_in, refresh, settings):
    settings.LOGIN_RATE_PER_USER = "1/m"
    assert log_in().status_code == 401
    token = RefreshToken.for_user(alice.user)
    assert statuses(refresh(token) for _ in range(3)) == [200] * 3

    assert log_in("alice", PASSWORD).status_code == 200
    assert refresh(token).status_code == 200


def test_concurrent_right_passwords_do_not_count_as_failures(alice):
    request = RequestFactory().post("/api/login/", REMOTE_ADDR=HOME)
    attempts = [Attempt(LOGIN, request) for _ in range(20)]

    for attempt in attempts:
        attempt.succeeded(alice.user)


# --- The admin ---------------------------------------------------------------------------


@pytest.fixture
def log_in_to_admin(client):
    def log_in(username="boss", password="wrong", address=HOME):
        login = {"username": username, "password": password}
        return client.post("/admin/login/", login, REMOTE_ADDR=address)

    return log_in


def test_the_admin_limits_failed_logins(boss, log_in_to_admin, client):
    for _ in range(3):
        assert "Please enter the correct username" in log_in_to_admin().content.decode()

    for password in ("wrong", PASSWORD):
        response = log_in_to_admin(password=password)

        assert (response.status_code, response["Retry-After"]) == (429, "20")
        assert response.content == b"Too many failed logins. Try again in 20 seconds."
    assert "_auth_user_id" not in client.session
    assert log_in_to_admin(password=PASSWORD, address=OFFICE).status_code == 302


def test_the_api_and_the_admin_count_together(boss, log_in, log_in_to_admin):
    assert log_in("boss").status_code == 401
    assert log_in_to_admin().status_code == 200
    assert log_in("boss").status_code == 401

    assert log_in("boss", PASSWORD).status_code == 429
    assert log_in_to_admin(password=PASSWORD).status_code == 429


# --- Refresh -----------------------------------------------------------------------------


def test_refresh_limits_failures(alice, refresh):
    forged = f"{RefreshToken.for_user(alice.user)}"[:-4] + "AAAA"
    assert statuses(refresh(token) for token in ("garbage", forged, "a.b.c")) == [401] * 3

    response = refresh(RefreshToken.for_user(alice.user))

    assert (response.status_code, response["Retry-After"]) == (429, "20")
    assert response.json()["code"] == "too_many_failed_logins"
    assert refresh(RefreshToken.for_user(alice.user), OFFICE).status_code == 200


def test_expired_refresh_tokens_do_not_block_the_login(alice, log_in, refresh):
    old = RefreshToken.for_user(alice.user)
    old.set_exp(lifetime=-RefreshToken.lifetime)
    assert statuses(refresh(old) for _ in range(4)) == [401] * 3 + [429]

    assert log_in("alice", PASSWORD).status_code == 200


def test_dead_tokens_of_a_user_are_limited_from_all_addresses(alice, bob, boss, refresh):
    dead = RefreshToken.for_user(alice.user)
    alice.user.set_password("another quiet river")
    alice.user.save()
    alive = RefreshToken.for_user(alice.user)
    assert refresh(alive, HOME).status_code == 200

    responses = statuses(refresh(dead, f"100.64.0.{host}") for host in range(1, 7))

    assert responses == [401] * 5 + [429]
    assert refresh(alive, OFFICE).status_code == 429
    assert refresh(alive, HOME).status_code == 200
    assert refresh(RefreshToken.for_user(bob.user), OFFICE).status_code == 200


def test_a_forged_token_does_not_use_up_the_count_of_its_user(alice, refresh):
    forged = f"{RefreshToken.for_user(alice.user)}"[:-4] + "AAAA"
    for host in range(1, 10):
        assert refresh(forged, f"100.64.0.{host}").status_code == 401

    assert refresh(RefreshToken.for_user(alice.user), BAR).status_code == 200


# --- Off, and the general limit ------------------------------------------------------------


def test_an_empty_rate_means_no_limit(alice, log_in, settings):
    settings.LOGIN_RATE_PER_ADDRESS = settings.LOGIN_RATE_PER_USERNAME = ""

    assert statuses(log_in() for _ in range(30)) == [401] * 30


def test_users_have_no_rate_by_default(alice):
    for _ in range(30):
        assert alice.get("/api/accounts/").status_code == 200


def test_a_user_rate_limits_each_user(alice, bob, anyone, settings):
    settings.USER_RATE = "2/m"
    assert statuses(alice.get("/api/accounts/") for _ in range(2)) == [200, 200]

    response = alice.send(bob.account, 1)

    assert (response.status_code, response["Retry-After"]) == (429, "20")
    assert response.json()["code"] == "throttled"
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert bob.get("/api/accounts/").status_code == 200
    assert anyone.get("/api/accounts/").status_code == 401


@pytest.mark.parametrize("rate", ["ten/m", "10", "10/w", "0/m", "-1/m", "10/year", "1.5/m"])
@pytest.mark.parametrize(
    "name",
    [
        *("LOGIN_RATE_PER_ADDRESS", "LOGIN_RATE_PER_USERNAME", "LOGIN_RATE_PER_USER"),
        *("USER_RATE", "REFUSED_TRANSFERS_RATE"),
    ],
)
def test_a_malformed_rate_stops_the_start(settings, rate, name):
    setattr(settings, name, rate)

    with pytest.raises(SystemExit, match=re.escape(f"{name}: {rate!r} is not a rate")):
        check()


def check():
    from django.core.management.base import SystemCheckError

    try:
        call_command("check")
    except SystemCheckError as error:
        raise SystemExit(str(error)) from error


# --- Failed logins reveal nothing ------------------------------------------------------------


@pytest.fixture
def hashes(settings):
    """Return the list of runs of the password hasher."""
    settings.PASSWORD_HASHERS = ["login.tests.hasher.CountingHasher"]
    from login.tests.hasher import CountingHasher

    CountingHasher.runs.clear()
    return CountingHasher.runs


def test_every_failed_login_costs_one_hash_and_gets_the_same_response(db, hashes, log_in, settings):
    settings.LOGIN_RATE_PER_ADDRESS = ""
    Person.join("alice")
    Person.join("sleeper", is_active=False)
    locked = Person.join("locked").user
    locked.set_unusable_password()
    locked.save()
    admin = Person.join("admin", is_staff=True).user
    admin.set_password("admin")
    admin.save()
    logins = [
        ("alice", "wrong"),
        ("nobody", PASSWORD),
        ("sleeper", PASSWORD),
        ("sleeper", "wrong"),
        ("locked", PASSWORD),
        ("admin", "admin"),
        ("admin", "wrong"),
        ("ALICE", PASSWORD),
    ]
    seen = []
    for username, password in logins:
        hashes.clear()
        response = log_in(username, password)
        headers = {
            name: value for name, value in response.items() if name not in ("Date", "X-Request-ID")
        }
        seen.append((len(hashes), response.status_code, headers, response.content))

    assert seen[0][:2] == (1, 401)
    assert all(response == seen[0] for response in seen)


def test_a_refused_attempt_costs_no_hash(alice, hashes, log_in):
    for _ in range(3):
        log_in()
    hashes.clear()

    assert log_in("alice", PASSWORD).status_code == 429
    assert hashes == []
