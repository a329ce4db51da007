"""Fixtures for all tests: alice owns an account, bob is a stranger, boss is staff."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partialmethod
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import connection
from django.db.backends.base.operations import BaseDatabaseOperations
from django.test import Client
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import Account
from accounts.verification import Verification
from almaFintech.tests.triggers import entries, records

PASSWORD = "a long and quiet river"


@dataclass(repr=False)
class Person:
    """A user who sends HTTP requests; `account` is the first that `open_account` opened."""

    user: User
    account: Account = field(init=False)

    @classmethod
    def join(cls, name: str, **flags: Any) -> "Person":
        return cls(User.objects.create_user(name, password=PASSWORD, **flags))

    def open_account(self, balance: int, currency: str = "USD") -> Account:
        account = Account.objects.create(currency=currency, balance=balance)
        self.user.profile.accounts.add(account)
        if not hasattr(self, "account"):
            self.account = account
        return account

    @property
    def balance(self) -> int:
        return Account.objects.get(pk=self.account.pk).balance

    # Any: a response of the test client, which has `json()`.
    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(self.user)}")
        if body is None:
            body = ""
        elif not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        return client.generic(method, path, body, content_type="application/json", headers=headers)

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")

    def send(self, destination: Account, amount: object) -> Any:
        body = {"origin": self.account.pk, "destination": destination.pk, "balance": amount}
        return self.post("/api/transfers/", body)

    def cancel(self, transfer: int) -> Any:
        return self.delete(f"/api/transfers/{transfer}/")


@pytest.fixture(autouse=True, scope="session")
def flush_past_the_triggers() -> Iterator[None]:
    """Let tests with real transactions flush all tables afterwards, the append-only ones too."""
    operations = type(connection.ops)
    flush = operations.execute_sql_flush

    def flush_without_triggers(self: BaseDatabaseOperations, statements: list[str]) -> None:
        with connection.schema_editor() as editor:
            entries.remove(None, editor)
            records.remove(None, editor)
        flush(self, statements)
        with connection.schema_editor() as editor:
            entries.install(None, editor)
            records.install(None, editor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "execute_sql_flush", flush_without_triggers)
        yield


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Use a fast hash: Argon2 is slow on purpose, and its tests select it."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def quick_starts(settings: Any) -> None:
    """Stop WhiteNoise from reading all files: each test client loads the middleware anew."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(autouse=True)
def no_failed_logins() -> None:
    """Forget the failed logins of other tests, which share the process and the address."""
    caches["counters"].clear()


@pytest.fixture
def alice(db: None) -> Person:
    person = Person.join("alice")
    person.open_account(1_000_000)
    return person


@pytest.fixture
def bob(db: None) -> Person:
    person = Person.join("bob")
    person.open_account(0)
    return person


@pytest.fixture
def boss(db: None) -> Person:
    return Person.join("boss", is_staff=True)


@pytest.fixture
def verified(transactional_db: None) -> Iterator[None]:
    """Check after the test that the ledger explains everything it did."""
    yield
    assert list(Verification().run()) == []


@pytest.fixture
def no_retries(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check after the test that there was no deadlock, which `retried` would hide."""
    logger = "almaFintech.db.transactions"
    caplog.set_level("INFO", logger)
    yield
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if record.name == logger] == []


@pytest.fixture
def staff(boss: Person) -> Client:
    """Return the browser of boss, who has logged in to the admin."""
    client = Client()
    client.force_login(boss.user)
    return client


@pytest.fixture
def anyone() -> APIClient:
    """Return a client without a token."""
    return APIClient(raise_request_exception=False)


# Tests that start servers and other programs take long, and their results do not depend on the
# database: they run only on PostgreSQL, the database of production.
only_on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="Runs with the tests on PostgreSQL"
)
needs_row_locks = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer at a time, so nothing races"
)
