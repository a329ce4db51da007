"""The querysets of the lists: their scope, and the ranges in which they are read."""

import pytest

from accounts.currencies import currencies_in_use
from accounts.models import Account, Transfer, TransferQuerySet
from conftest import Person

NEWEST_FIRST = ["-date", "-id"]


@pytest.fixture
def carol(alice: Person, bob: Person) -> Person:
    """Return a user with two accounts who has sent and received, among transfers of others."""
    carol = Person.join("carol")
    carol.open_account(100)
    for _ in range(3):
        carol.send(bob.account, 1)
        alice.send(carol.account, 2)
        alice.send(bob.account, 3)
        carol.account = carol.open_account(100)
    return carol


def ranges(transfers: TransferQuerySet) -> list[str]:
    """Return the conditions of the branches, in order."""
    return sorted(str(range) for range in transfers.parts.ranges) if transfers.parts else []


def test_a_user_reads_each_end_of_each_account(carol):
    seen = Transfer.objects.visible_to(carol.user)

    assert len(seen.branches(NEWEST_FIRST)) == 2 * carol.user.profile.accounts.count()
    assert [row.balance for row in seen.first_rows(NEWEST_FIRST, 4)] == [2, 1, 2, 1]


@pytest.mark.parametrize(
    "narrow",
    [
        lambda rows: rows.filter(balance=2),
        lambda rows: rows.exclude(balance=1),
        lambda rows: rows.filter(currency="USD").filter(balance__lt=9),
        lambda rows: rows.exclude(reference="", balance=1),
        lambda rows: rows.all().filter(balance=2),
    ],
)
def test_a_further_condition_applies_to_every_branch(carol, narrow):
    seen = Transfer.objects.visible_to(carol.user)
    narrowed = narrow(seen)

    assert ranges(narrowed) == ranges(seen)
    expected = list(narrowed.order_by(*NEWEST_FIRST))
    assert narrowed.first_rows(NEWEST_FIRST, 100) == expected
    branched = {row.pk for branch in narrowed.branches(NEWEST_FIRST) for row in branch}
    assert branched == {row.pk for row in expected} != set()


def test_rows_without_instances_are_read_in_the_same_ranges(carol):
    seen = Transfer.objects.visible_to(carol.user)
    rows = seen.values("date", "id", "balance").filter(balance=2)

    assert ranges(rows) == ranges(seen)
    expected = [{"date": row.date, "id": row.pk, "balance": 2} for row in seen.filter(balance=2)]
    assert rows.first_rows(["-id"], 100) == expected
    assert len(expected) == 3


@pytest.mark.parametrize(
    "widen",
    [
        lambda rows, others: rows | others,
        lambda rows, others: others | rows,
        lambda rows, others: rows ^ others,
        lambda rows, others: rows.union(others),
    ],
)
def test_a_union_drops_the_branches(carol, bob, widen):
    seen = Transfer.objects.visible_to(carol.user)
    before = ranges(seen)

    assert ranges(widen(seen, Transfer.objects.all())) == []
    assert ranges(seen) == before


def test_a_narrower_range_replaces_a_wider_one(carol, bob):
    seen = Transfer.objects.visible_to(carol.user)
    account, other = carol.account.pk, bob.account.pk

    assert ranges(seen.sent_by(account)) == [f"{{'origin': {account}}}"]
    assert ranges(seen.sent_by(account).received_by(other)) == [f"{{'origin': {account}}}"]
    assert ranges(seen.touching([account])) == [
        f"{{'destination': {account}}}",
        f"{{'origin': {account}}}",
    ]
    # Another user's account may have many transfers, few of them visible to this user.
    assert ranges(seen.touching([other])) == ranges(seen.received_by(other)) == ranges(seen)


def test_a_scope_holds_for_every_filter(carol, bob):
    seen = Transfer.objects.visible_to(carol.user)

    for rows in seen.touching([bob.account.pk]), seen.received_by(bob.account.pk):
        assert {row.balance for row in rows.first_rows(NEWEST_FIRST, 100)} == {1}
    assert seen.touching([]).first_rows(NEWEST_FIRST, 100) == []
    nobody = Person.join("nobody").user
    assert Transfer.objects.visible_to(nobody).first_rows(NEWEST_FIRST, 100) == []


def test_the_currencies_in_use_are_one_statement(alice, bob, django_assert_num_queries):
    Account.objects.create(currency="EUR")
    Account.objects.create(currency="ARS")

    for rows, currencies in (
        (Account.objects.all(), ["ARS", "EUR", "USD"]),
        (Account.objects.order_by("-balance"), ["ARS", "EUR", "USD"]),
        (Account.objects.visible_to(alice.user), ["USD"]),
        (Account.objects.filter(currency__in=["EUR", "GBP"]), ["EUR"]),
        (Account.objects.filter(balance=-1), []),
    ):
        with django_assert_num_queries(1):
            assert currencies_in_use(rows) == currencies
    assert currencies_in_use(Account.objects.none()) == []
