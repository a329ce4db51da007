"""Every list has pages, linked by the `Link` header."""

import re
from base64 import b64encode
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Transfer
from almaFintech.db import clock
from login.models import Profile

CURRENCIES = ("ARS", "AUD", "BRL", "CAD", "CHF", "CLP", "CNY", "EUR", "GBP", "JPY")

LISTS = (
    "/api/users/",
    "/api/profiles/",
    "/api/accounts/",
    "/api/accounts/biggest/",
    "/api/accounts/{alice}/transfers/",
    "/api/transfers/",
)
every_list = pytest.mark.parametrize("path", LISTS)


@pytest.fixture
def fill(alice, bob):
    """A function that adds `rows` rows to every list, and returns `path` with alice's account."""

    def add(path, rows):
        start = User.objects.count()
        User.objects.bulk_create(User(username=f"user{start + i}") for i in range(rows))
        Account.objects.bulk_create(
            Account(currency=CURRENCIES[i % len(CURRENCIES)], balance=1) for i in range(rows)
        )
        Transfer.objects.bulk_create(
            Transfer(origin=alice.account, destination=bob.account, balance=1) for _ in range(rows)
        )
        for profile in Profile.objects.of(list(User.objects.all())):
            profile.accounts.add(bob.account)
        return path.format(alice=alice.account.pk)

    return add


def links(response):
    """Return the targets of the `Link` header (RFC 8288) by relation."""
    found = re.findall(r'<([^<>]+)>; rel="(\w+)"(?:, |$)', response.get("Link", ""))
    assert ", ".join(f'<{url}>; rel="{rel}"' for url, rel in found) == response.get("Link", "")
    return {rel: url for url, rel in found}


def keys(response):
    assert response.status_code == 200
    assert isinstance(response.json(), list)
    return [row.get("id", row.get("user_id")) for row in response.json()]


def walk(person, url, rel):
    """Return the pages from `url` on in the direction `rel`, and the URL of the last one."""
    pages = []
    while url:
        response = person.get(url)
        pages.append(keys(response))
        last, url = url, links(response).get(rel)
    return pages, last


def cost(person, path):
    """Return the number of rows of a list and the number of its queries."""
    with CaptureQueriesContext(connection) as queries:
        response = person.get(path)
    return len(keys(response)), len(queries)


@every_list
def test_paging_in_either_direction_shows_every_row_once(boss, fill, path):
    path = fill(path, 7)
    rows = keys(boss.get(path))
    assert len(rows) >= 7
    newest_first = "transfers" in path
    assert rows == sorted(set(rows), reverse=newest_first)

    forth, last = walk(boss, f"{path}?limit=3", "next")
    back, first = walk(boss, last, "prev")

    assert [row for page in forth for row in page] == rows
    assert [row for page in reversed(back) for row in page] == rows
    assert {len(page) for page in forth[:-1]} == {3}
    assert {len(page) for page in back[1:-1]} <= {3}
    assert sorted(links(boss.get(f"{path}?limit=3"))) == ["next"]
    assert sorted(links(boss.get(last))) == ["prev"]
    assert sorted(links(boss.get(first))) == ["next"]


@every_list
def test_the_number_of_queries_does_not_grow_with_the_rows(boss, fill, path):
    path = fill(path, 2)
    few_rows, few_queries = cost(boss, path)
    fill(path, 9)
    many_rows, many_queries = cost(boss, path)

    assert many_rows >= few_rows + 7
    assert many_queries == few_queries


@pytest.mark.parametrize("path", ["/api/accounts/", "/api/transfers/"])
def test_the_number_of_queries_of_a_user_does_not_grow_either(alice, bob, path):
    alice.send(bob.account, 1)
    _, few = cost(alice, path)
    for _ in range(5):
        alice.open_account(1)
        alice.send(bob.account, 1)

    assert cost(alice, path) == (6, few)


def test_new_and_deleted_rows_do_not_shift_pages(alice, bob, boss):
    for _ in range(4):
        alice.send(bob.account, 1)
    newest = Transfer.objects.latest("pk").pk
    first = boss.get("/api/transfers/?limit=2")

    alice.send(bob.account, 1)
    second = boss.get(links(first)["next"])

    assert keys(first) + keys(second) == [newest, newest - 1, newest - 2, newest - 3]


def test_a_page_whose_rows_were_deleted_links_back(boss):
    accounts = [Account.objects.create(currency="USD") for _ in range(4)]
    url = links(boss.get("/api/accounts/?limit=2"))["next"]
    for account in accounts[2:]:
        account.delete()

    empty = boss.get(url)

    assert keys(empty) == []
    assert sorted(links(empty)) == ["prev"]
    # The client has seen the row before the page, so the link back skips it.
    assert keys(boss.get(links(empty)["prev"])) == [accounts[0].pk]


@pytest.mark.parametrize(
    ("query", "rows"),
    [("", 100), ("?limit=1", 1), ("?limit=007", 7), ("?limit=101", 101), ("?limit=1000", 1000)]
    + [(f"?limit={big}", 1000) for big in ("1001", "5000", "9" * 18)],
)
def test_a_page_is_bounded(boss, query, rows):
    Account.objects.bulk_create(Account(currency="USD") for _ in range(1001))

    assert len(keys(boss.get(f"/api/accounts/{query}"))) == rows


@pytest.mark.parametrize("limit", ["0", "-1", "abc", "1.5", "", "%00", "%D9%A1", "1e2", "9" * 5000])
def test_a_limit_is_a_positive_whole_number(boss, limit):
    response = boss.get(f"/api/accounts/?limit={limit}")

    assert response.status_code == 400
    assert response.json() == {"limit": ["Must be a whole number, 1 or more."]}


def encoded(text):
    return quote(b64encode(text.encode()).decode())


@pytest.mark.parametrize(
    "cursor",
    [
        "garbage",
        encoded("p=1"),
        encoded("s=-id&p=1"),
        encoded("s=balance&p=1&p=1"),
        encoded("s=id"),
        encoded("s=id&p=1&p=1"),
        encoded("s=id&p=1&o=1"),
        encoded("s=id&s=id&p=1"),
        encoded("&".join(["s=id", *["p=1"] * 99])),
        "%D9%A1",
        "====",
        quote(b64encode(b"\xff\xfe").decode()),
        encoded("s=id&p=abc"),
        encoded("s=id&p=2026-01-01 00:00:00"),
        encoded("s=id&p=1.5"),
        encoded("s=id&p=-1"),
        encoded("s=id&p="),
        encoded("s=id&p=1\0"),
        encoded("s=id&p=" + "9" * 19),
        encoded("s=id&p=" + "9" * 5000),
        encoded("&".join("abc")),
    ],
)
def test_an_invalid_cursor_returns_400(boss, cursor):
    response = boss.get(f"/api/accounts/?cursor={cursor}")

    assert (response.status_code, response.json()) == (400, {"cursor": ["Invalid cursor"]})


@pytest.mark.parametrize(
    ("cursor", "message"),
    [("", "This field may not be blank."), ("%00", "Null characters are not allowed.")],
)
def test_a_blank_cursor_and_one_with_nul_return_400(boss, cursor, message):
    response = boss.get(f"/api/accounts/?cursor={cursor}")

    assert (response.status_code, response.json()) == (400, {"cursor": [message]})


@every_list
def test_every_list_checks_its_query(boss, alice, path):
    path = path.format(alice=alice.account.pk)

    assert list(boss.get(f"{path}?cursor=garbage").json()) == ["cursor"]
    assert list(boss.get(f"{path}?limit=0").json()) == ["limit"]


@pytest.mark.parametrize(
    "key",
    [
        *["", "1", "yesterday", "2026-01-01T00:00:00Z", "2026-13-01&p=1", "\0&p=1"],
        *["0001-01-01T00:00:00%2B14:00&p=1", "9999-12-31T23:59:59-14:00&p=1"],
        *["2026-01-01T00:00:00Z&p=-1", f"2026-01-01T00:00:00Z&p={2**63}"],
    ],
)
def test_a_cursor_by_date_holds_a_date_and_an_id(boss, key):
    response = boss.get(f"/api/transfers/?cursor={encoded(f's=-date&p={key}')}")

    assert (response.status_code, response.json()) == (400, {"cursor": ["Invalid cursor"]})


def test_a_cursor_by_username_holds_text(boss):
    for key in ("%00", "a%00", ""):
        cursor = encoded(f"s=username&p={key}")
        response = boss.get(f"/api/users/?ordering=username&cursor={cursor}")

        assert (response.status_code, response.json()) == (400, {"cursor": ["Invalid cursor"]})


def test_a_cursor_belongs_to_its_ordering(boss, fill):
    fill("", 3)
    url = links(boss.get("/api/accounts/?limit=2&ordering=balance"))["next"]

    assert boss.get(url).status_code == 200
    for other in ("id", "-id", "-balance"):
        response = boss.get(url.replace("ordering=balance", f"ordering={other}"))
        assert (response.status_code, response.json()) == (400, {"cursor": ["Invalid cursor"]})


@pytest.mark.parametrize("ordering", ["", "pk", "--id", "-", "currency", "id,balance", "ID", "%00"])
def test_an_unknown_ordering_returns_400(boss, ordering):
    response = boss.get(f"/api/accounts/?ordering={ordering}")

    assert response.status_code == 400
    assert response.json() == {"ordering": ["Must be one of: id, -id, balance, -balance."]}


@pytest.mark.parametrize("ordering", ["balance", "-balance"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("who", ["boss", "alice"])
def test_accounts_with_the_same_balance_are_all_listed_once(request, alice, ordering, limit, who):
    person = request.getfixturevalue(who)
    for n in range(12):
        alice.open_account(n % 3, CURRENCIES[n % 4])
    key = ("-balance", "-id") if ordering == "-balance" else ("balance", "id")
    rows = list(Account.objects.order_by(*key).values_list("id", flat=True))
    path = f"/api/accounts/?ordering={ordering}"

    forth, last = walk(person, f"{path}&limit={limit}", "next")
    back, _ = walk(person, last, "prev")

    assert keys(person.get(path)) == rows
    assert [row for page in forth for row in page] == rows
    assert [row for page in reversed(back) for row in page] == rows


@pytest.mark.parametrize("path", ["/api/transfers/", "/api/accounts/{alice}/transfers/"])
@pytest.mark.parametrize("ordering", ["date", "-date"])
@pytest.mark.parametrize("who", ["boss", "alice"])
def test_transfers_with_the_same_date_are_all_listed_once(
    request, monkeypatch, settings, alice, fill, path, ordering, who
):
    # The transfers get earlier dates than the openings of their accounts.
    settings.CLOCK_TOLERANCE_SECONDS = 10**9
    person = request.getfixturevalue(who)
    moments = [datetime(2026, 1, 1, microsecond=n % 3, tzinfo=UTC) for n in range(9)]
    dates = iter(moments * 9)
    monkeypatch.setattr("almaFintech.db.clock.moment", lambda read: next(dates))
    path = fill(path, 9)
    monkeypatch.undo()
    # A transfer between two accounts of alice is listed once. It has an old date like the others,
    # because on MariaDB a list by date ends some seconds ago.
    with clock.set_to(datetime(2026, 1, 2, tzinfo=UTC)):
        alice.send(alice.open_account(0), 1)
    key = ("-date", "-id") if ordering == "-date" else ("date", "id")
    rows = list(Transfer.objects.order_by(*key).values_list("id", flat=True))
    assert len({*Transfer.objects.values_list("date", flat=True)}) < len(rows) == 10

    forth, last = walk(person, f"{path}?ordering={ordering}&limit=2", "next")
    back, _ = walk(person, last, "prev")

    assert [row for page in forth for row in page] == rows
    assert [row for page in reversed(back) for row in page] == rows


def test_users_can_be_ordered_by_name(boss, fill):
    fill("", 5)
    User.objects.create_user("a name & more + é")
    rows = list(User.objects.order_by("-username").values_list("id", flat=True))

    forth, _ = walk(boss, "/api/users/?ordering=-username&limit=2", "next")

    assert [row for page in forth for row in page] == rows


def test_links_keep_the_rest_of_the_query(boss, alice, bob):
    response = boss.get("/api/accounts/?limit=1&currency=U%53D")

    assert re.fullmatch(
        r"http://testserver/api/accounts/\?currency=USD&cursor=[^&]+&limit=1",
        links(response)["next"],
    )
