"""Demo data goes through the ledger, depends on the seed alone, and stays out of production."""

import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import Account, Entry, Transfer
from login.models import Profile

SIZE = {"users": 8, "accounts": 20, "transfers": 150}


@pytest.fixture(autouse=True)
def development(settings):
    settings.DEBUG = True


def seed(**options: object) -> str:
    output = io.StringIO()
    call_command("seed_demo", stdout=output, **SIZE | options)
    return output.getvalue()


def snapshot() -> tuple[list[Any], ...]:
    """Return everything that depends on the seed: all but ids and dates."""
    ids = Account.objects.values_list("pk", flat=True)
    numbers: dict[int | None, int] = {pk: number for number, pk in enumerate(ids)}
    return (
        list(User.objects.order_by("pk").values_list("username", "first_name", "email")),
        list(Profile.objects.order_by("user").values_list("cuit", "phone", "company")),
        list(Account.objects.values_list("currency", "balance")),
        [
            (
                numbers[transfer.origin_id],
                numbers[transfer.destination_id],
                transfer.balance,
                transfer.reference,
                transfer.cancelled,
            )
            for transfer in Transfer.objects.order_by("pk")
        ],
    )


def test_the_requested_numbers_are_made(db):
    first, login = seed().splitlines()
    assert first.startswith("8 users, 20 accounts, 150 transfers (")
    assert re.fullmatch(r"Log in as demo-\S+-0 / demo\.", login)

    assert User.objects.count() == Profile.objects.count() == 8
    assert Account.objects.count() == 20
    assert Account.objects.values("currency").distinct().count() > 1
    assert Transfer.objects.count() == 150
    assert 0 < Transfer.objects.filter(cancelled=True).count() < 20
    assert Transfer.objects.exclude(reference="").exists()
    # Users send from their own accounts, and every user has one.
    own = Transfer.objects.filter(origin__profile__user=F("created_by"))
    assert own.count() == 150
    assert not Profile.objects.filter(accounts=None).exists()
    # They cancel transfers that their own accounts received.
    cancelled = Transfer.objects.filter(cancelled=True)
    regretted = cancelled.filter(destination__profile__user=F("cancelled_by"))
    assert regretted.count() == cancelled.count()


def test_the_transfers_are_spread_over_the_last_months(db):
    before = timezone.now()
    seed()

    dates = list(Transfer.objects.order_by("pk").values_list("date", flat=True))
    assert dates == sorted(dates)
    assert before - timedelta(days=121) < dates[0] < before - timedelta(days=110)
    assert before - timedelta(days=10) < dates[-1] < timezone.now()
    assert len({date.date() for date in dates}) > 50
    first = Account.objects.earliest("pk")
    opening, *rest = Entry.objects.of(first.pk).values_list("date", flat=True)
    assert [opening, *rest] == sorted([opening, *rest])
    assert opening < dates[0]


def test_a_given_date_is_ignored(alice, bob):
    start = timezone.now()
    day = start - timedelta(days=1)

    transfer = Transfer(origin=alice.account, destination=bob.account, balance=5, date=day)
    transfer.save()

    assert transfer.date > start - timedelta(minutes=1)
    assert Transfer.objects.get().date == transfer.date


def test_every_balance_is_explained(transactional_db):
    seed()

    call_command("verify_ledger", stdout=io.StringIO())


def test_demo_users_can_log_in_during_development(db, anyone):
    printed = re.search(r"Log in as (\S+) / (\S+)\.", seed())
    assert printed
    login = dict(zip(("username", "password"), printed.group(1, 2), strict=True))

    assert anyone.post("/api/login/", login, format="json").status_code == 200


def test_the_same_seed_makes_the_same_data(db):
    worlds = []
    for number in 7, 7, 8:
        with transaction.atomic():
            seed(seed=number)
            worlds.append(snapshot())
            transaction.set_rollback(True)

    assert worlds[0] == worlds[1] != worlds[2]


def test_the_same_data_is_not_made_twice(db):
    seed()
    with pytest.raises(CommandError, match="use another --seed"):
        seed()
    seed(seed=2)

    assert User.objects.count() == 16


def test_production_refuses_without_force(db, settings):
    settings.DEBUG = False
    with pytest.raises(CommandError, match="--force"):
        seed()
    assert not Account.objects.exists()

    seed(force=True)
    assert Account.objects.count() == 20
    assert not any(user.has_usable_password() for user in User.objects.all())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        # The two accounts of seed 1 are of different currencies.
        *(({"accounts": number}, "raise --accounts") for number in (0, 1, 2)),
        *(({name: -1}, f"^--{name} must be 0 or more") for name in SIZE),
    ],
)
def test_impossible_numbers_are_refused_before_anything_is_written(db, options, reason):
    with pytest.raises(CommandError, match=reason):
        seed(**options)

    assert not User.objects.exists()
    assert not Account.objects.exists()
