"""The lists of the admin: search, filters, and their cost."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.currencies import in_units
from accounts.models import Account, Transfer
from almaFintech.admin import BoundedPaginator
from almaFintech.tests.admin import ACCOUNTS, ENTRIES, MAX, TRANSFERS, booked, listed


def test_the_list_shows_units_micro_units_and_links(staff, alice, bob):
    alice.send(bob.account, 250_000)
    page = staff.get(TRANSFERS).content.decode()

    assert "0.25\N{NO-BREAK SPACE}USD" in page
    assert ">250000<" in page
    for person in (alice, bob):
        assert f'<a href="{ACCOUNTS}{person.account.pk}/change/">{person.account.pk}</a>' in page


@pytest.mark.parametrize(
    ("micro_units", "text"),
    [
        (0, "0.00"),
        (1, "0.000001"),
        (1_250_000, "1.25"),
        (-1_250_000, "-1.25"),
        (1_000_000_000_000, "1,000,000.00"),
        (MAX, "9,223,372,036,854.775807"),
    ],
)
def test_micro_units_are_shown_in_units(micro_units, text):
    assert in_units(micro_units, "USD") == f"{text}\N{NO-BREAK SPACE}USD"


def test_a_truncated_list_says_so(staff, alice, bob, monkeypatch):
    monkeypatch.setattr(BoundedPaginator, "most", 3)
    notice = "The pages end after 3 rows: search and filter for more."
    for _ in range(2):
        booked(alice, bob)
    assert notice not in staff.get(TRANSFERS).content.decode()
    for _ in range(2):
        booked(alice, bob)

    response = staff.get(TRANSFERS)
    assert notice in response.content.decode()
    assert response.context["cl"].result_count == 3


@pytest.mark.parametrize("path", [TRANSFERS, ACCOUNTS, f"{TRANSFERS}?_facets=True"])
def test_the_queries_of_a_list_do_not_grow_with_its_rows(staff, alice, bob, path):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(path).status_code == 200
        return [query["sql"] for query in captured]

    booked(alice, bob)
    few = queries()
    for _ in range(5):
        bob.open_account(0)
        booked(alice, bob)
    many = queries()

    assert len(many) == len(few)
    # An unbounded count reads the whole table.
    assert [sql for sql in many if "COUNT(" in sql]
    assert not [sql for sql in many if "COUNT(" in sql and "LIMIT" not in sql]


# --- Search ---------------------------------------------------------------------------


def test_search_finds_by_number(staff, alice, bob):
    # Numbers that no account has, so that each search is unambiguous.
    Transfer.objects.bulk_create(
        [
            Transfer(pk=pk, origin=alice.account, destination=bob.account, balance=1)
            for pk in (10_001, 10_002)
        ]
    )

    assert listed(staff.get(f"{TRANSFERS}?q=10001")) == [10_001]
    assert listed(staff.get(f"{TRANSFERS}?q={alice.account.pk}")) == [10_002, 10_001]
    assert listed(staff.get(f"{TRANSFERS}?q= {bob.account.pk} ")) == [10_002, 10_001]
    assert listed(staff.get(f"{TRANSFERS}?q=10003")) == []
    assert listed(staff.get(f"{ACCOUNTS}?q={alice.account.pk}")) == [alice.account.pk]


def test_search_finds_a_whole_reference(staff, alice, bob):
    rent = Transfer.objects.create(
        origin=alice.account, destination=bob.account, balance=1, reference="rent for May"
    )
    booked(alice, bob)

    assert listed(staff.get(f"{TRANSFERS}?q=rent+for+May")) == [rent.pk]
    assert listed(staff.get(f"{TRANSFERS}?q=rent")) == []


@pytest.mark.parametrize("term", ["abc", "-1", "1.5", "%", "9" * 19, "9" * 30, "9" * 5000, "\0"])
@pytest.mark.parametrize("path", [ACCOUNTS, TRANSFERS])
def test_a_search_for_an_impossible_number_finds_nothing(staff, alice, bob, path, term):
    alice.send(bob.account, 1)
    response = staff.get(path, {"q": term})

    assert response.status_code == 200
    assert listed(response) == []


# --- Filters --------------------------------------------------------------------------


def test_filters(staff, alice, bob):
    euros = alice.open_account(10, "EUR")
    in_euros = Transfer.objects.create(
        origin=euros, destination=bob.open_account(0, "EUR"), balance=1
    )
    kept, cancelled = booked(alice, bob), booked(alice, bob)
    cancelled.delete()

    assert listed(staff.get(f"{TRANSFERS}?cancelled__exact=1")) == [cancelled.pk]
    assert listed(staff.get(f"{TRANSFERS}?cancelled__exact=0")) == [kept.pk, in_euros.pk]
    assert listed(staff.get(f"{TRANSFERS}?currency=EUR")) == [in_euros.pk]
    assert listed(staff.get(f"{TRANSFERS}?currency=USD&cancelled__exact=0")) == [kept.pk]
    assert listed(staff.get(f"{ACCOUNTS}?currency=USD")) == [alice.account.pk, bob.account.pk]


def test_the_currencies_of_a_list_are_offered(staff, alice, bob):
    euros = alice.open_account(10, "EUR")
    booked(alice, bob)
    Transfer.objects.create(origin=euros, destination=bob.open_account(0, "EUR"), balance=1)
    alice.open_account(0, "ARS")
    for account in Account.objects.filter(currency="EUR"):
        account.delete()

    def offered(path):
        return re.findall(r"\?currency=(\w+)", staff.get(path).content.decode())

    assert offered(ACCOUNTS) == ["ARS", "USD"]
    # Transfers outlive their accounts, and not every account has one.
    assert offered(TRANSFERS) == ["EUR", "USD"]


def test_the_date_filter(staff, alice, bob):
    now = timezone.now()
    for date in now, now - timedelta(days=3), datetime(2024, 2, 28, tzinfo=UTC):
        transfer = booked(alice, bob)
        # Transfers refuse update(), and nothing else can book one in the past.
        QuerySet(Transfer).filter(pk=transfer.pk).update(date=date)

    def count(query):
        with CaptureQueriesContext(connection) as queries:
            response = staff.get(f"{TRANSFERS}{query}")
        # A list of the distinct dates would read every transfer.
        assert not [sql["sql"] for sql in queries if re.search("DISTINCT.*date", sql["sql"])]
        return len(listed(response))

    changelist = staff.get(TRANSFERS).context["cl"]
    [by_date] = [spec for spec in changelist.filter_specs if spec.title == "date"]
    choices = {str(it["display"]): it["query_string"] for it in by_date.choices(changelist)}

    assert [count(choices[name]) for name in ("Any date", "Past 7 days", "Today")] == [3, 2, 1]
    midnight = "T00:00:00%2B00:00"
    assert count(f"?date__gte=2024-02-01{midnight}&date__lt=2024-03-01{midnight}") == 1


@pytest.mark.parametrize(
    "query",
    [
        "currency=%00",
        "currency__exact=%00",
        "cancelled__exact=maybe",
        "date__year=9999",
        "date__year=99999999999999999999",
        "date__year=9999&date__month=12&date__day=31",
        "date__year=2024&date__month=13",
        "date__month=2",
        "p=0",
        "p=abc",
        "o=99.x",
        "_facets=True",
    ],
)
def test_a_nonsensical_query_is_not_a_server_error(staff, alice, bob, query):
    alice.send(bob.account, 1)
    # Not every database can compare with a NUL.
    assert staff.get(f"{TRANSFERS}?{query}", follow=True).status_code in (200, 400)


@pytest.mark.parametrize("path", [ENTRIES, TRANSFERS, "/admin/audit/record/"])
@pytest.mark.parametrize(
    "query",
    [
        "date__year=-1",
        "date__year=0",
        f"date__year={'9' * 30}",
        "date__year__gt=-1",
        "date__iso_year=0",
        "id__range=1",
    ],
)
def test_an_impossible_lookup_leads_to_the_list(staff, path, query):
    response = staff.get(f"{path}?{query}", follow=True)

    assert response.redirect_chain == [(f"{path}?e=1", 302)]
    assert response.status_code == 200
