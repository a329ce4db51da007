"""The cast of the tests: alice owns an account, bob is a stranger, boss is staff."""

import json
from dataclasses import dataclass
from functools import partialmethod

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import connection
from django.test import Client, TransactionTestCase
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from accounts import append_only as entries
from accounts.models import Account
from accounts.verification import Verification
from audit import append_only as records

PASSWORD = "a long and quiet river"


@dataclass
class Person:
    """A user at the other end of HTTP, with an account when `open_account` was called."""

    user: User
    account: Account | None = None

    @classmethod
    def join(cls, name: str, **flags: bool) -> "Person":
        return cls(User.objects.create_user(name, password=PASSWORD, **flags))

    def open_account(self, balance: int, currency: str = "USD") -> Account:
        account = Account.objects.create(currency=currency, balance=balance)
        self.user.profile.accounts.add(account)
        self.account = self.account or account
        return account

    @property
    def balance(self) -> int:
        return Account.objects.get(pk=self.account.pk).balance

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(self.user)}")
        return client.generic(
            method,
            path,
            body if isinstance(body, (str, bytes)) else "" if body is None else json.dumps(body),
            content_type="application/json",
            headers=headers,
        )

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")

    def send(self, destination: Account, amount: object) -> Response:
        body = {"origin": self.account.pk, "destination": destination.pk, "balance": amount}
        return self.post("/api/transfers/", body)

    def cancel(self, transfer: int) -> Response:
        return self.delete(f"/api/transfers/{transfer}/")


@pytest.fixture(autouse=True, scope="session")
def emptying_the_tables_passes_the_triggers():
    """Between tests with real transactions all tables are emptied, that of the entries too."""
    flush = TransactionTestCase._fixture_teardown

    def flush_past_the_triggers(self):
        with connection.schema_editor() as editor:
            entries.remove(None, editor)
            records.remove(None, editor)
        flush(self)
        with connection.schema_editor() as editor:
            entries.install(None, editor)
            records.install(None, editor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", flush_past_the_triggers)
        yield


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    """Argon2 is slow on purpose; the test that asks for it names it."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def quick_starts(settings):
    """Each client of a test loads the middleware anew; WhiteNoise then reads no files ahead."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(autouse=True)
def no_failed_logins():
    """The tests share one process and one address; the failures of one are not the next one's."""
    caches["counters"].clear()


@pytest.fixture
def alice(db) -> Person:
    person = Person.join("alice")
    person.open_account(1_000_000)
    return person


@pytest.fixture
def bob(db) -> Person:
    person = Person.join("bob")
    person.open_account(0)
    return person


@pytest.fixture
def boss(db) -> Person:
    return Person.join("boss", is_staff=True)


@pytest.fixture
def verified(transactional_db):
    """Whatever a test does, the ledger explains it afterwards."""
    yield
    assert list(Verification().run()) == []


@pytest.fixture
def nothing_is_run_again(caplog):
    """Whatever a test does, the database has found no deadlock that `retried` would hide."""
    logger = "almaFintech.db.transactions"
    caplog.set_level("INFO", logger)
    yield
    logged = [it.getMessage() for it in caplog.get_records("call") if it.name == logger]
    assert logged == []


@pytest.fixture
def staff(boss) -> Client:
    """The browser of boss, who has logged in to the admin."""
    client = Client()
    client.force_login(boss.user)
    return client


@pytest.fixture
def anyone() -> APIClient:
    """A client without a token."""
    return APIClient(raise_request_exception=False)


# Tests that start whole servers and other programs take long, and what they show does not depend
# on the database: they run with the suite on PostgreSQL, which is what production has.
once = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="Runs with the tests on PostgreSQL"
)
needs_row_locks = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer at a time, so nothing races"
)
