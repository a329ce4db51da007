"""With rotation, a refresh token works exactly once, also under parallel use."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings

from conftest import needs_row_locks
from login.tokens import RefreshToken

PARALLEL = 4


@pytest.fixture(autouse=True)
def rotation(monkeypatch):
    # The modules of simplejwt each hold this object, so a changed SIMPLE_JWT would not reach them.
    monkeypatch.setattr(api_settings, "ROTATE_REFRESH_TOKENS", True)


def renew(token):
    client = APIClient(raise_request_exception=False)
    return client.post("/api/login/refresh/", {"refresh": str(token)}, format="json")


def test_a_refresh_token_is_replaced_by_the_next(alice):
    first = RefreshToken.for_user(alice.user)

    response = renew(first)

    assert (response.status_code, sorted(response.json())) == (
        200,
        ["access", "expires_in", "refresh"],
    )
    again = renew(first)
    assert (again.status_code, again.json()["code"]) == (401, "token_not_valid")
    assert renew(response.json()["refresh"]).status_code == 200


def test_the_next_token_ends_with_a_changed_password(alice):
    following = renew(RefreshToken.for_user(alice.user)).json()["refresh"]
    alice.user.set_password("another quiet river")
    alice.user.save()

    assert renew(following).status_code == 401


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_one_of_several_parallel_refreshes_succeeds(alice, monkeypatch):
    token = RefreshToken.for_user(alice.user)
    start = Barrier(PARALLEL)
    look_up = RefreshToken.check_blacklist

    def look_up_together(self):
        # All of them have looked and found nothing before the first one continues.
        look_up(self)
        start.wait(timeout=10)

    def renew_in_thread(_):
        try:
            return renew(token)
        finally:
            connection.close()

    monkeypatch.setattr(RefreshToken, "check_blacklist", look_up_together)
    with ThreadPoolExecutor(PARALLEL) as threads:
        responses = list(threads.map(renew_in_thread, range(PARALLEL)))

    assert sorted(response.status_code for response in responses) == [200, 401, 401, 401]
