"""Tokens that are signed with the right key, but have claims that the server never writes."""

import base64
import hashlib
import hmac
import json
import time
from uuid import uuid4

import pytest
from django.conf import settings
from rest_framework_simplejwt.utils import get_md5_hash_password

HUGE = "9" * 4000
TEXTS: list[object] = [
    *(None, True, 1.5, [], {}, [1], {"a": 1}, "", " ", "abc", "-1", "\0", "1\0", "\ud800"),
    *("\u0661", "9" * 5000, 10**20, -1, 0, [[[1]]]),
]
TIMES: list[object] = [
    *(None, True, 1.5, [], {}, "", "abc", "\0", -1, 10**12, 10**20, 10**400, -(10**20), "1e400"),
    *(float("inf"), float("-inf"), float("nan"), str(2**40)),
]


def encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def signed(payload: bytes, header: bytes = b'{"alg":"HS256","typ":"JWT"}') -> str:
    text = encoded(header) + b"." + encoded(payload)
    signature = hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).digest()
    return (text + b"." + encoded(signature)).decode()


def claims(user, kind, **changes):
    now = int(time.time())
    return {
        "token_type": kind,
        "exp": now + 300,
        "iat": now,
        "jti": uuid4().hex,
        "user_id": str(user.pk),
        "hash_password": get_md5_hash_password(user.password),
        "sid": uuid4().hex,
    } | changes


@pytest.fixture(autouse=True)
def no_limit(settings):
    settings.LOGIN_RATE_PER_ADDRESS = settings.LOGIN_RATE_PER_USERNAME = ""


@pytest.fixture
def send_everywhere(anyone):
    """Return a function that makes a token for each endpoint that takes one, and sends it there."""

    def send(token):
        access = {"Authorization": f"Bearer {token('access')}"}
        yield anyone.get("/api/accounts/", headers=access)
        for path in "/api/login/refresh/", "/api/login/logout/":
            yield anyone.post(path, {"refresh": token("refresh")}, format="json")

    return send


def as_json(claims):
    return json.dumps(claims).encode()


def test_a_token_of_the_usual_claims_works(alice, send_everywhere):
    for response in send_everywhere(lambda kind: signed(as_json(claims(alice.user, kind)))):
        assert response.status_code == 200


@pytest.mark.parametrize("name", ["user_id", "jti", "sid", "exp", "iat", "token_type", "nbf"])
def test_an_odd_claim_returns_401(alice, send_everywhere, name):
    for value in TIMES if name in ("exp", "iat", "nbf") else TEXTS:
        odd = {name: value}
        for response in send_everywhere(
            lambda kind, odd=odd: signed(as_json(claims(alice.user, kind, **odd)))
        ):
            assert response.status_code == 401, value
            assert response.json()["code"] in ("token_not_valid", "token_expired"), value


@pytest.mark.parametrize("value", TEXTS)
def test_an_odd_fingerprint_returns_401(alice, send_everywhere, value):
    access, refresh, logout = send_everywhere(
        lambda kind: signed(as_json(claims(alice.user, kind, hash_password=value)))
    )

    assert (access.status_code, refresh.status_code) == (401, 401)
    # A logout checks only that the server has signed the token.
    assert logout.status_code == 200


@pytest.mark.parametrize("name", ["user_id", "jti", "exp", "token_type"])
def test_a_missing_claim_returns_401(alice, send_everywhere, name):
    def token(kind):
        found = claims(alice.user, kind)
        del found[name]
        return signed(as_json(found))

    assert [response.status_code for response in send_everywhere(token)] == [401] * 3


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"[]", b"null", b"1", b'"x"', b"{", b"\xff", b'{"exp":' + HUGE.encode() + b"}"),
        *(b"[" * 900 + b"]" * 900, b'{"exp":' + b"[" * 3000 + b"]" * 3000 + b"}"),
    ],
)
def test_odd_json_as_payload_or_header_returns_401(alice, send_everywhere, payload):
    usual = as_json(claims(alice.user, "refresh"))
    for token in signed(payload), signed(usual, payload):
        for response in send_everywhere(lambda _, token=token: token):
            assert (response.status_code, response.json()["code"]) == (401, "token_not_valid")


@pytest.mark.parametrize("name", ["alg", "typ", "kid", "b64", "crit", "x"])
def test_an_odd_header_never_returns_500(alice, send_everywhere, name):
    for value in [*TEXTS, *TIMES, json.loads("[" * 400 + "]" * 400)]:
        header = as_json({"alg": "HS256", "typ": "JWT", name: value})

        def token(kind, header=header):
            return signed(as_json(claims(alice.user, kind)), header)

        for response in send_everywhere(token):
            assert response.status_code in (200, 401), value
