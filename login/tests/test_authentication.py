"""Every path of the API needs a token, except those that issue one."""

import pytest
from django.urls import URLPattern, reverse
from rest_framework.test import APIRequestFactory
from rest_framework_simplejwt.tokens import AccessToken

from almaFintech.urls import router
from login.authentication import Authentication
from login.tokens import RefreshToken

OPEN = {"api-root"}
# Taken from the router, so that no new endpoint is forgotten.
PATHS = sorted(
    {
        reverse(str(url.name), kwargs=dict.fromkeys(url.pattern.regex.groupindex, 1))
        for url in router.urls
        if isinstance(url, URLPattern) and url.name not in OPEN
    }
)


def test_the_paths_are_those_of_the_contract():
    assert set(PATHS) >= {
        "/api/users/",
        "/api/users/1/",
        "/api/profiles/",
        "/api/profiles/1/",
        "/api/profiles/1/add_account/",
        "/api/profiles/1/remove_account/",
        "/api/accounts/",
        "/api/accounts/1/",
        "/api/accounts/1/transfers/",
        "/api/accounts/biggest/",
        "/api/transfers/",
        "/api/transfers/1/",
    }


@pytest.mark.parametrize("path", PATHS)
def test_a_missing_token_returns_401(db, anyone, path):
    for method in "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
        response = anyone.generic(method, path)

        assert response.status_code == 401
        assert response["WWW-Authenticate"].startswith("Bearer")
        assert response.data == {
            "detail": "Authentication credentials were not provided.",
            "code": "not_authenticated",
        }


def expired(user):
    token = AccessToken.for_user(user)
    token.set_exp(lifetime=-AccessToken.lifetime)
    return token


def of_nobody(user):
    token = AccessToken.for_user(user)
    token["user_id"] = "10" * 20
    return token


@pytest.mark.parametrize(
    "header",
    [
        lambda user: "Bearer garbage",
        lambda user: "Bearer",
        lambda user: "Bearer a b",
        lambda user: "Bearer \xff",
        lambda user: "Basic YWxpY2U6YWxpY2U=",
        lambda user: f"{AccessToken.for_user(user)}",
        lambda user: f"Bearer {AccessToken.for_user(user)}x",
        lambda user: f"Bearer {expired(user)}",
        lambda user: f"Bearer {of_nobody(user)}",
    ],
)
def test_a_bad_token_returns_401(alice, anyone, header):
    response = anyone.get("/api/accounts/", headers={"Authorization": header(alice.user)})

    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert set(response.json()) >= {"code", "detail"}


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "not_authenticated"),
        ("Basic YWxpY2U6YWxpY2U=", "not_authenticated"),
        ("Token x", "not_authenticated"),
        ("Bearerx x", "not_authenticated"),
        ("bearer", "bad_authorization_header"),
        ("bearer x", "token_not_valid"),
        ("Bearer", "bad_authorization_header"),
        ("Bearer a b", "bad_authorization_header"),
        ("Bearer x", "token_not_valid"),
    ],
)
def test_the_code_names_the_error_in_the_header(db, anyone, header, code):
    response = anyone.get("/api/accounts/", headers={"Authorization": header})

    assert (response.status_code, response.json()["code"]) == (401, code)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_scheme_may_be_written_in_any_case(alice, anyone, scheme):
    header = f"{scheme} {AccessToken.for_user(alice.user)}"

    assert anyone.get("/api/accounts/", headers={"Authorization": header}).status_code == 200


def test_a_request_reads_its_user_in_one_query(alice, django_assert_num_queries):
    """One SELECT checks the user, the password and the session."""
    request = APIRequestFactory().get("/", headers={"Authorization": header_of(alice.user)})

    with django_assert_num_queries(1):
        found = Authentication().authenticate(request)

    assert found is not None
    assert found[0] == alice.user


def header_of(user):
    return f"Bearer {RefreshToken.for_user(user).access_token}"


def test_the_entry_points_are_shown_to_everybody(anyone):
    response = anyone.get("/api/")

    assert response.status_code == 200
    assert (
        response.json().items()
        >= {
            name: f"http://testserver/api/{name}/"
            for name in ("users", "profiles", "accounts", "transfers")
        }.items()
    )
