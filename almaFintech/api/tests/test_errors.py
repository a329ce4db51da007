"""Bad input gets an error that describes the mistake, and changes nothing."""

import json

import pytest
from django.contrib.auth.models import User
from django.db.models.signals import pre_save
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken

from accounts.models import Account, Transfer
from conftest import PASSWORD
from login.models import Profile
from login.tokens import RefreshToken
from login.views import UserViewSet

# Every endpoint that takes a body, and its required fields.
WRITES = {
    "POST /api/login/": {"username", "password"},
    "POST /api/login/refresh/": {"refresh"},
    "POST /api/login/logout/": {"refresh"},
    "POST /api/users/": {"username", "password"},
    "POST /api/users/{user}/": {"username"},
    "PUT /api/users/{user}/": {"username"},
    "PATCH /api/users/{user}/": set(),
    "POST /api/profiles/{user}/": set(),
    "PUT /api/profiles/{user}/": set(),
    "PATCH /api/profiles/{user}/": set(),
    "POST /api/profiles/{user}/add_account/": {"account_id"},
    "POST /api/profiles/{user}/remove_account/": {"account_id"},
    "POST /api/accounts/": {"currency"},
    "POST /api/accounts/{account}/": {"currency"},
    "PUT /api/accounts/{account}/": {"currency"},
    "PATCH /api/accounts/{account}/": set(),
    "POST /api/transfers/": {"origin", "destination", "balance"},
}

TEXTS = {
    "POST /api/login/": ("username", "password"),
    "POST /api/login/refresh/": ("refresh",),
    "POST /api/users/": ("username", "password", "first_name", "last_name", "email"),
    "PATCH /api/users/{user}/": ("username", "password", "first_name", "last_name", "email"),
    "PATCH /api/profiles/{user}/": ("cuit", "phone", "company"),
    "POST /api/accounts/": ("currency",),
    "PATCH /api/accounts/{account}/": ("currency",),
}

NUMBERS = {
    "POST /api/accounts/": ("balance",),
    "PATCH /api/accounts/{account}/": ("balance",),
    "POST /api/transfers/": ("origin", "destination", "balance"),
    "POST /api/profiles/{user}/add_account/": ("account_id",),
    "POST /api/profiles/{user}/remove_account/": ("account_id",),
}


class World:
    """The database before a request, and a valid body for every endpoint."""

    def __init__(self, boss, alice, bob):
        self.boss = boss
        self.names = {"user": alice.user.pk, "account": alice.account.pk}
        self.valid = {
            "username": "carol",
            "password": PASSWORD,
            "refresh": str(RefreshToken.for_user(alice.user)),
            "account_id": bob.account.pk,
            "currency": "USD",
            "origin": alice.account.pk,
            "destination": bob.account.pk,
            "balance": 1,
        }
        self.before = self.rows()

    def send(self, endpoint, body=None, **headers):
        method, path = endpoint.split()
        return self.boss.request(method, path.format(**self.names), body, **headers)

    def refused_fields(self, fields, value):
        """Send `value`, as JSON, in each of the fields; return the statuses and named fields."""
        answers = {}
        for endpoint, names in fields.items():
            for name in names:
                rest = {key: valid for key, valid in self.valid.items() if key != name}
                body = f'{json.dumps(rest)[:-1]}, "{name}": {value}}}'
                response = self.send(endpoint, body)
                answers[endpoint, name] = response.status_code, list(response.json())
        return answers

    @staticmethod
    def rows():
        models = User, Profile, Profile.accounts.through, Account, Transfer, BlacklistedToken
        return [list(model.objects.order_by("pk").values()) for model in models]

    def assert_unchanged(self):
        assert self.rows() == self.before


@pytest.fixture
def world(boss, alice, bob):
    return World(boss, alice, bob)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\0",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"balance": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"transfers": [' + b"[" * 920 + b"]" * 920 + b"]}",
        b'{"a": ' * 51 + b"1" + b"}" * 51,
        b'{"balance": ' + b"9" * 5000 + b"}",
        b'{"balance": NaN}',
        b'{"balance": -Infinity}',
        b'{"balance": 1, "balance": 1}',
        b'{"other": [{"a": 1, "\\u0061": 2}]}',
    ],
    ids=[
        *[
            "cut",
            "nul",
            "utf16",
            "deep",
            "deep_value",
            "deep_item",
            "deep_object",
            "digits",
            "nan",
            "infinity",
        ],
        *["repeated", "repeated_within"],
    ],
)
def test_malformed_json_returns_400(world, body):
    answers = {endpoint: world.send(endpoint, body) for endpoint in WRITES}

    assert {
        endpoint: (answer.status_code, answer.json()["code"])
        for endpoint, answer in answers.items()
    } == dict.fromkeys(WRITES, (400, "parse_error"))
    world.assert_unchanged()


@pytest.mark.parametrize(
    ("balance", "said"),
    [
        ('1, "balance": 2', 'the name "balance" is given more than once'),
        ("9" * 5000, "a number has too many digits"),
        ("-" + "9" * 5000, "a number has too many digits"),
    ],
    ids=["repeated", "digits", "negative"],
)
def test_unparsable_json_gets_a_plain_message(world, balance, said):
    response = world.send("POST /api/accounts/", f'{{"currency": "USD", "balance": {balance}}}')

    assert response.status_code == 400
    assert response.json() == {"detail": f"JSON parse error - {said}", "code": "parse_error"}
    world.assert_unchanged()


@pytest.mark.parametrize(("depth", "status"), [(48, 201), (49, 400), (917, 400)])
@pytest.mark.parametrize("key", [{}, {"idempotency_key": "k1"}])
def test_json_is_nested_in_50_levels_at_most(world, alice, bob, depth, status, key):
    """The batch and its list add two levels; `note` is an unknown field, which is ignored."""
    item = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 1}
    deep = "[" * (depth - 1) + "]" * (depth - 1)
    body = json.dumps({"transfers": [item | {"note": "deep"}]}).replace('"deep"', deep)

    response = alice.post("/api/transfers/batch/", body, **key)

    assert response.status_code == status
    if status == 400:
        assert response.json() == {
            "detail": "JSON parse error - nested too deeply",
            "code": "parse_error",
        }
        world.assert_unchanged()


@pytest.mark.parametrize("body", [b"[]", b"[{}]", b'"text"', b'"\\ud800"', b"null", b"1", b"true"])
def test_a_body_is_an_object(world, body):
    answers = {endpoint: world.send(endpoint, body) for endpoint in WRITES}

    assert {
        endpoint: (answer.status_code, list(answer.json())) for endpoint, answer in answers.items()
    } == dict.fromkeys(WRITES, (400, ["non_field_errors"]))
    world.assert_unchanged()


@pytest.mark.parametrize("body", [None, "{}"])
def test_an_empty_body_names_the_missing_fields(world, body):
    for endpoint, required in WRITES.items():
        response = world.send(endpoint, body)

        assert response.status_code == (400 if required else 200)
        if required:
            assert response.json() == {name: ["This field is required."] for name in required}
    world.assert_unchanged()


@pytest.mark.parametrize(
    "text", ["\0", "a\0b", "\ud800", "\udfffa", ["a"], {"a": "b"}, True], ids=ascii
)
def test_text_that_cannot_be_stored_names_the_field(world, text):
    answers = world.refused_fields(TEXTS, json.dumps(text))

    assert answers == {(endpoint, name): (400, [name]) for endpoint, name in answers}
    world.assert_unchanged()


@pytest.mark.parametrize(
    "number",
    [
        "-1",
        "1.5",
        "true",
        "null",
        '"abc"',
        '""',
        "[]",
        "{}",
        f"{2**63}",
        f"{10**30}",
        "1e400",
        "1e18",
        f"{2**53 + 3}.0",
        '"1.0"',
        '"\\u0661"',
        '"\\ud800"',
        f'"{"9" * 5000}"',
    ],
    ids=lambda number: number[:20],
)
def test_an_invalid_whole_number_names_the_field(world, number):
    answers = world.refused_fields(NUMBERS, number)

    assert answers == {(endpoint, name): (400, [name]) for endpoint, name in answers}
    world.assert_unchanged()


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/xml", 415),
        ("nonsense", 415),
        ("application/json; charset=hex", 415),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=latin-1", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=\xe9", 400),
    ],
)
def test_other_content_types_are_refused(world, content_type, status):
    for endpoint in WRITES:
        response = world.send(endpoint, world.valid, **{"Content-Type": content_type})

        assert response.status_code == status
        assert set(response.json()) == {"detail", "code"}
    world.assert_unchanged()


def test_a_user_created_at_the_same_time_is_a_conflict(transactional_db, boss):
    def appear(instance, **kwargs):
        # bulk_create() sends no signal, so this runs once.
        User.objects.bulk_create([User(username=instance.username, first_name="Rival")])

    pre_save.connect(appear, sender=User)
    try:
        response = boss.post("/api/users/", {"username": "carol", "password": PASSWORD})
    finally:
        pre_save.disconnect(appear, sender=User)

    assert response.status_code == 409
    assert response.json() == {
        "detail": "Another request changed the same data at the same time.",
        "code": "conflict",
    }
    # The rival was created in the transaction of the request, and is rolled back with it.
    assert not User.objects.filter(username="carol").exists()


def test_a_bug_returns_500_in_json_and_reveals_nothing(boss, monkeypatch):
    def fail(self):
        raise RuntimeError("a secret")

    monkeypatch.setattr(UserViewSet, "get_queryset", fail)

    response = boss.get("/api/users/")

    assert response.status_code == 500
    assert response.json() == {"detail": "Internal server error.", "code": "server_error"}


def test_html_and_unknown_formats_are_not_served(boss):
    assert boss.get("/api/users/", Accept="text/html").status_code == 406
    assert boss.get("/api/users/?format=xml").status_code == 400
