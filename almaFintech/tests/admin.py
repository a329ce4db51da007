"""What the tests of the admin pages send, and how they read the answers."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import Model
from django.forms import BaseForm
from django.http import HttpResponse
from django.test import Client

from accounts.models import Account


def messages(response: HttpResponse) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def form(response: HttpResponse) -> BaseForm:
    return response.context["adminform"].form


def act(staff: Client, path: str, action: str, *rows: Model | str, **data: Any) -> HttpResponse:
    """Run an action on rows of a list; a text stands for a row that a browser would not send."""
    selected = [row if isinstance(row, str) else row.pk for row in rows]
    return staff.post(path, {"action": action, "_selected_action": selected, **data}, follow=True)


def user_form(user: User, **changes: Any) -> dict[str, Any]:
    """Return what the change page of a user posts, with the profile inline."""
    profile = user.profile
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
    """What the page that confirms a deletion has shown of these accounts as they are now."""
    rows = Account.objects.filter(pk__in=[account.pk for account in accounts]).order_by("pk")
    return ",".join(f"{row.pk}:{row.currency}:{row.balance}" for row in rows)
