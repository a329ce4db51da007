"""Helpers for tests of the admin: paths, requests, and readers of responses."""

import re
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Model
from django.forms import BaseForm
from django.test import Client

from accounts.models import Account, Entry, Transfer
from conftest import Person
from login.models import Profile

ACCOUNTS = "/admin/accounts/account/"
TRANSFERS = "/admin/accounts/transfer/"
ENTRIES = "/admin/accounts/entry/"
RECORDS = "/admin/audit/record/"
USERS = "/admin/auth/user/"
PROFILES = "/admin/login/profile/"

# The largest number of a row or an amount.
MAX = 2**63 - 1


def messages(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def form(response: Any) -> BaseForm:
    found: BaseForm = response.context["adminform"].form
    return found


def key_of(response: Any) -> Any:
    """Return the key that a form of a transfer holds."""
    return form(response)["idempotency_key"].value()


def listed(response: Any) -> list[Any]:
    """Return the primary keys of the rows that a list shows."""
    return [row.pk for row in response.context["cl"].result_list]


def found(pattern: str, text: str) -> str:
    """Return the first group of `pattern` where it first matches in `text`."""
    match = re.search(pattern, text, re.DOTALL)
    assert match, f"{pattern} is not in {text}"
    return match[1]


def act(staff: Client, path: str, action: str, *rows: Model | str, **data: Any) -> Any:
    """Run an action on rows of a list; text stands for a row that a browser would not send."""
    selected = [row if isinstance(row, str) else row.pk for row in rows]
    return staff.post(path, {"action": action, "_selected_action": selected, **data}, follow=True)


def send(
    staff: Client, origin: Any, destination: Any, amount: Any, key: str = "", **buttons: str
) -> Any:
    """Save the form of a transfer."""
    data = {"origin": origin, "destination": destination, "balance": amount} | buttons
    return staff.post(f"{TRANSFERS}add/", data | {"idempotency_key": key}, follow=True)


def booked(person: Person, other: Person, amount: int = 1) -> Transfer:
    """Return a transfer from `person` to `other`, booked through the API."""
    assert other.account
    response: Any = person.send(other.account, amount)
    return Transfer.objects.get(pk=response.json()["id"])


def user_form(user: User, **changes: Any) -> dict[str, Any]:
    """Return the form data of the change page of a user, with the profile inline."""
    profile = Profile.objects.get(user=user)
    return {
        "username": user.username,
        "is_active": "on",
        "profile-TOTAL_FORMS": 1,
        "profile-INITIAL_FORMS": 1,
        "profile-0-id": profile.pk,
        "profile-0-user": user.pk,
        "profile-0-accounts": [*profile.accounts.values_list("pk", flat=True)],
        **changes,
    }


def shown(*accounts: Account) -> str:
    """Return these accounts in the form that the deletion page shows and posts."""
    rows = Account.objects.filter(pk__in=[account.pk for account in accounts]).order_by("pk")
    return ",".join(f"{row.pk}:{row.currency}:{row.balance}" for row in rows)


def entries_of(account: Account) -> list[tuple[str, int | None, str]]:
    """Return kind, author and reason of each entry of an account, oldest first."""
    return list(Entry.objects.of(account.pk).values_list("kind", "by", "reason"))
