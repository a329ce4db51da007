"""What PostgreSQL's cursors return."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.utils import DataError

from conftest import only_on_postgresql

pytestmark = only_on_postgresql

MOMENT = datetime(2026, 5, 1, 12, 30, 0, 123456, tzinfo=UTC)


def read(text: str) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [text])
        [[moment]] = cursor.fetchall()
    return moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-01 12:30:00.123456+00", MOMENT),
        ("2026-05-01 14:30:00.123456+02", MOMENT),
        ("0001-01-01 00:00:00+00", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31 23:59:59.999999+00", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_moment_is_in_utc(db, text, moment):
    found = read(text)

    assert (found, found.tzinfo) == (moment, UTC)


@pytest.mark.parametrize("text", ["infinity", "4713-01-01 BC", "10000-01-01"])
def test_a_moment_that_python_does_not_know_is_an_error(db, text):
    with pytest.raises(DataError):
        read(text)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_block", [True, False])
def test_rows_are_streamed(alice, bob, in_block):
    def streamed() -> list[tuple[str, datetime]]:
        rows = User.objects.order_by("pk").values_list("username", "date_joined")
        return list(rows.iterator(chunk_size=1))

    if in_block:
        with transaction.atomic():
            found = streamed()
    else:
        found = streamed()

    people = alice.user, bob.user
    assert found == [(user.username, user.date_joined) for user in people]
    assert {date.tzinfo for _, date in found} == {UTC}
