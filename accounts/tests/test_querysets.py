"""The querysets of the lists: their scope, and the ranges in which they are read."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from django.db.models import QuerySet

from accounts.currencies import currencies_in_use
from accounts.models import Account, Transfer, TransferQuerySet
from almaFintech.db.querysets import beyond
from conftest import Person

NEWEST_FIRST = ["-date", "-id"]
START = datetime(2026, 5, 1, tzinfo=UTC)


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


@pytest.fixture
def tied(carol: Person) -> list[Transfer]:
    """Return transfers between all accounts and closed ones, several at each moment."""
    for _ in range(6):
        carol.open_account(0)
    draw = Random(1)
    ids: list[int | None] = [*Account.objects.values_list("pk", flat=True)]
    ends: list[list[int | None]] = [draw.sample(ids, 2) for _ in range(150)]
    ends += [[id, None] for id in ids] + [[None, None]]
    draw.shuffle(ends)
    every: QuerySet[Transfer] = QuerySet(Transfer)
    every.bulk_create(
        Transfer(
            date=START + timedelta(seconds=draw.randrange(40)),
            origin_id=origin,
            destination_id=destination,
            currency="USD",
            balance=1,
        )
        for origin, destination in ends
    )
    return list(every)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("limit", [1, 5, 19, 20, 500])
def test_the_first_rows_are_those_of_the_whole_list(carol, tied, descending, limit):
    """The user has 20 ranges: the limits are below and above their number."""
    own = set(carol.user.profile.accounts.values_list("pk", flat=True))
    end = START + timedelta(seconds=30)
    rows = sorted(
        (
            (row.date, row.pk)
            for row in tied
            if {row.origin_id, row.destination_id} & own and row.date < end
        ),
        reverse=descending,
    )
    seen = Transfer.objects.visible_to(carol.user).filter(date__lt=end)
    ordering = NEWEST_FIRST if descending else ["date", "id"]

    assert len(ranges(seen)) == 20
    for place in range(0, len(rows), 7):
        after = beyond(["date", "id"], rows[place], descending=descending)
        found = seen.values("date", "id").first_rows(ordering, limit, after=after)
        assert [(row["date"], row["id"]) for row in found] == rows[place + 1 :][:limit]
    assert [(row.date, row.pk) for row in seen.first_rows(ordering, limit)] == rows[:limit]


def test_the_first_rows_may_be_in_the_order_of_their_ids(carol, tied):
    seen = Transfer.objects.visible_to(carol.user)

    found = seen.first_rows(["-id"], 500)

    assert found == list(seen.order_by("-id"))


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
