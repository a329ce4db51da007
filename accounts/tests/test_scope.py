"""No path of the API shows or changes the data of other users.

The paths come from the router, so new actions are covered as well.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse

from accounts.models import Account, Entry, Transfer
from almaFintech.urls import router
from conftest import Person

READS = ("GET", "HEAD")


def actions() -> Iterator[Any]:
    """Yield each method of each viewset, its path, and the field in that path, if there is one."""
    registry: list[tuple[str, Any, str]] = router.registry
    for prefix, viewset, basename in registry:
        for route in router.get_routes(viewset):
            methods = router.get_method_map(viewset, route.mapping)
            name = route.name.format(basename=basename)
            for method, action in methods.items():
                yield pytest.param(
                    method.upper(),
                    name,
                    viewset.lookup_field if route.detail else None,
                    id=f"{prefix}-{action}-{method}",
                )


every_action = pytest.mark.parametrize(("method", "name", "lookup"), [*actions()])


@pytest.fixture
def others(alice, bob) -> dict[str, list[int]]:
    """Return the ids of the rows of alice and bob, by the names of their paths."""
    transfer = alice.send(bob.account, 5).json()["id"]
    users = [alice.user.pk, bob.user.pk]
    return {
        "user": users,
        "profile": users,
        "account": [alice.account.pk, bob.account.pk],
        "transfer": [transfer],
    }


@pytest.fixture
def stranger(others) -> Person:
    """Return a user who shares no account and no transfer with the others."""
    person = Person.join("stranger")
    person.open_account(7)
    person.send(person.open_account(0), 3)
    return person


def everything() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (Account, Transfer, Entry)]


@every_action
def test_a_stranger_neither_sees_nor_changes_the_rows_of_others(
    stranger, others, method, name, lookup
):
    basename = name.partition("-")[0]
    before = everything()

    for number in others[basename]:
        path = reverse(name, kwargs={lookup: number} if lookup else None)
        response = stranger.request(method, path, {})
        if lookup:
            assert response.status_code in (403, 404)
        elif method in READS and response.status_code != 403:
            assert response.status_code == 200
            shown = {row["id"] for row in response.json()}
            assert shown, "The stranger's own rows are shown."
            assert shown.isdisjoint(others[basename])
        else:
            assert response.status_code in (400, 403)

    assert everything() == before


@every_action
def test_a_user_without_accounts_sees_nothing(others, method, name, lookup):
    person = Person.join("newcomer")
    if lookup or method not in READS:
        return

    response: Any = person.request(method, reverse(name))

    assert response.status_code == 403 or response.json() == []
