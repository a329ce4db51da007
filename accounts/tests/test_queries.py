"""Query parameters filter the lists of accounts and transfers, or are refused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import Account, Transfer

MAX = 2**63 - 1


@pytest.fixture
def transfers(alice, bob, boss, monkeypatch, settings):
    """Book five transfers, each on another day, and return their ids by name."""
    # The accounts are opened later than the transfers are dated.
    settings.CLOCK_TOLERANCE_SECONDS = 10**9
    days = (datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 9))
    euros = {
        "alice": alice.open_account(50, "EUR"),
        "bob": bob.open_account(50, "EUR"),
    }
    rows: dict[str, Any] = {}

    def send(name, origin, destination, balance, reference=""):
        with monkeypatch.context() as patch:
            patch.setattr("almaFintech.db.clock.moment", lambda read: next(days))
            transfer = Transfer(
                origin=origin, destination=destination, balance=balance, reference=reference
            )
            transfer.save()
        rows[name] = transfer.pk

    send("rent", alice.account, bob.account, 700, "rent")
    send("loan", alice.account, bob.account, 100, "rent 2")
    send("part", bob.account, alice.account, 40)
    send("euro", euros["alice"], euros["bob"], 50, "rent")
    carol = Account.objects.create(currency="USD", balance=9)
    send("else", carol, bob.account, 9, "50% & ü")
    boss.cancel(rows["loan"])
    rows["accounts"] = {
        "A": alice.account.pk,
        "B": bob.account.pk,
        "C": carol.pk,
        "E": euros["alice"].pk,
    }
    return rows


TABLE = [
    ("", ["else", "euro", "part", "loan", "rent"]),
    ("account={A}", ["part", "loan", "rent"]),
    ("account={E}", ["euro"]),
    ("account={C}", ["else"]),
    ("account=0", []),
    (f"account={MAX}", []),
    ("origin={A}", ["loan", "rent"]),
    ("destination={A}", ["part"]),
    ("destination={B}", ["else", "loan", "rent"]),
    ("origin={A}&destination={B}", ["loan", "rent"]),
    ("origin={A}&destination={A}", []),
    ("account={A}&origin={B}", ["part"]),
    ("currency=USD", ["else", "part", "loan", "rent"]),
    ("currency=EUR", ["euro"]),
    ("currency=JPY", []),
    ("cancelled=true", ["loan"]),
    ("cancelled=false", ["else", "euro", "part", "rent"]),
    ("reference=rent&currency=USD", ["rent"]),
    ("reference=50%25%20%26%20%C3%BC", ["else"]),
    ("reference=ren", []),
    ("date_from=2026-01-02", ["else", "euro", "part", "loan"]),
    ("date_from=2026-01-02&date_to=2026-01-04", ["part", "loan"]),
    ("date_to=2026-01-02T00:00:00.000001Z", ["loan", "rent"]),
    ("date_to=2026-01-02T01:00:00%2B01:00", ["rent"]),
    ("balance_min=100", ["loan", "rent"]),
    ("balance_max=40", ["else", "part"]),
    ("balance_min=40&balance_max=50", ["euro", "part"]),
    (f"balance_min={MAX}", []),
    ("balance_max=0", []),
    ("balance_max=50&currency=USD&cancelled=false&ordering=date", ["part", "else"]),
]


@pytest.mark.parametrize(("query", "names"), TABLE)
def test_transfers_are_found(alice, boss, transfers, query, names):
    query = query.format(**transfers["accounts"])
    own = [name for name in names if name != "else"]

    for person, expected in ((boss, names), (alice, own)):
        rows = person.get(f"/api/transfers/?{query}").json()
        assert [row["id"] for row in rows] == [transfers[name] for name in expected]


@pytest.mark.parametrize(("query", "names"), TABLE)
def test_the_transfers_of_an_account_are_found(alice, transfers, query, names):
    query = query.format(**transfers["accounts"])
    names = [name for name in names if name in ("part", "loan", "rent")]

    rows = alice.get(f"/api/accounts/{alice.account.pk}/transfers/?{query}").json()

    assert [row["id"] for row in rows] == [transfers[name] for name in names]


def test_no_filter_shows_the_transfers_of_others(bob, transfers, alice):
    for name in ("account", "origin"):
        rows = alice.get(f"/api/transfers/?{name}={transfers['accounts']['C']}").json()
        assert rows == []
    # Transfers between the user and the other account are still shown.
    rows = alice.get(f"/api/transfers/?account={bob.account.pk}").json()
    assert [row["id"] for row in rows] == [transfers[name] for name in ("part", "loan", "rent")]


@pytest.mark.parametrize(
    ("query", "balances"),
    [
        ("", [5, 0, 7, 5]),
        ("currency=USD", [5, 0]),
        ("currency=EUR&balance_min=6", [7]),
        ("currency=JPY", []),
        ("balance_min=5", [5, 7, 5]),
        ("balance_max=0", [0]),
        ("balance_min=5&balance_max=6", [5, 5]),
        ("balance_min=6&balance_max=5", []),
        (f"balance_max={MAX}", [5, 0, 7, 5]),
        ("ordering=-balance", [7, 5, 5, 0]),
        ("ordering=balance&currency=EUR", [5, 7]),
        ("ordering=balance&balance_min=1", [5, 5, 7]),
        ("ordering=-id", [5, 7, 0, 5]),
    ],
)
def test_accounts_are_found(boss, query, balances):
    for currency, balance in (("USD", 5), ("USD", 0), ("EUR", 7), ("EUR", 5)):
        Account.objects.create(currency=currency, balance=balance)

    rows = boss.get(f"/api/accounts/?{query}").json()

    assert [row["balance"] for row in rows] == balances


def test_a_user_finds_only_their_own_accounts(alice, bob):
    alice.open_account(3, "EUR")
    bob.open_account(4, "EUR")

    found = [
        [row["balance"] for row in alice.get(f"/api/accounts/?{query}").json()]
        for query in ("ordering=balance", "balance_min=1", "currency=EUR", "balance_max=3")
    ]

    assert found == [[3, 1_000_000], [1_000_000, 3], [3], [3]]


def test_a_withdrawn_currency_is_known_while_there_is_money_in_it(boss):
    assert list(boss.get("/api/accounts/?currency=HRK").json()) == ["currency"]
    Account.objects.create(currency="HRK", balance=1)

    assert [row["currency"] for row in boss.get("/api/accounts/?currency=HRK").json()] == ["HRK"]


NUMBERS = ["", "abc", "-1", "1.5", "1e3", "+1", "0x1", "true", "%D9%A1", "1%00", str(2**63)]
NUMBERS += [str(10**30), "9" * 5000, "%ED%A0%80", "%FF", "%zz", "1%", "null", "[1]"]
TEXTS = ["", "%00", "a%00b", "%ED%A0%80", "a%FFb", "%zz", "%", "%2"]
MOMENTS = [*TEXTS, "yesterday", "2026-13-01", "1", "0001-01-01T00:00:00%2B14:00", "9" * 5000]
BAD = {
    "/api/transfers/": {
        **dict.fromkeys(["account", "origin", "destination"], NUMBERS),
        **dict.fromkeys(["balance_min", "balance_max"], NUMBERS),
        "currency": [*TEXTS, "usd", "XXX", "ZZZ", "USDX", "1"],
        "cancelled": [*TEXTS, "2", "maybe", "null", "truee"],
        "reference": [*TEXTS, "x" * 141],
        "date_from": MOMENTS,
        "date_to": MOMENTS,
    },
    "/api/accounts/": {
        **dict.fromkeys(["balance_min", "balance_max"], NUMBERS),
        "currency": [*TEXTS, "usd", "XXX", "ZZZ", "USDX", "1"],
        "limit": [*TEXTS, "0"],
        "cursor": TEXTS,
        "ordering": TEXTS,
    },
}


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, names in BAD.items() for name in names]
)
def test_a_bad_value_returns_400_and_is_named(boss, path, name):
    for value in BAD[path][name]:
        response = boss.get(f"{path}?{name}={value}")

        assert (response.status_code, list(response.json())) == (400, [name]), value


def test_every_bad_value_is_named(alice):
    response = alice.get("/api/transfers/?account=x&cancelled=x&currency=x")

    assert sorted(response.json()) == ["account", "cancelled", "currency"]


@pytest.mark.parametrize(
    "path",
    [
        *["accounts/", "accounts/biggest/", "accounts/{id}/", "accounts/{id}/transfers/"],
        *["accounts/{id}/statement/", "transfers/", "transfers/{transfer}/", "me/"],
        *["users/", "users/{user}/", "profiles/", "profiles/{user}/"],
    ],
)
def test_an_unknown_parameter_returns_400_and_is_named(alice, boss, bob, path):
    transfer = alice.send(bob.account, 1).json()["id"]
    path = "/api/" + path.format(id=alice.account.pk, transfer=transfer, user=alice.user.pk)

    for query, name in [
        ("acount=1", "acount"),
        ("id=1", "id"),
        ("balance__gte=1", "balance__gte"),
        ("page=2", "page"),
        ("offset=1", "offset"),
        ("=1", ""),
        ("%00=1", "\0"),
        ("%FF=1", "\N{REPLACEMENT CHARACTER}"),
        ("format=json&LIMIT=1", "LIMIT"),
    ]:
        response = boss.get(f"{path}?{query}")
        assert (response.status_code, list(response.json())) == (400, [name]), query
        assert boss.request("HEAD", f"{path}?{query}").status_code == 400
    assert boss.get(f"{path}?format=json").status_code == 200


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("accounts/{id}/", ["currency", "limit", "from", "ordering"]),
        ("accounts/{id}/statement/", ["at", "ordering", "currency"]),
        ("accounts/biggest/", ["currency", "balance_min", "at"]),
        ("accounts/", ["at", "from", "account"]),
        ("transfers/", ["from", "to", "at", "username"]),
        ("me/", ["limit", "at"]),
    ],
)
def test_a_parameter_of_another_path_is_unknown(alice, path, names):
    for name in names:
        response = alice.get(f"/api/{path.format(id=alice.account.pk)}?{name}=1")

        assert (response.status_code, list(response.json())) == (400, [name])


def test_a_repeated_parameter_is_refused(alice):
    response = alice.get("/api/transfers/?currency=EUR&currency=USD")

    assert response.json() == {"currency": ["Must be given only once."]}


def test_more_parameters_than_django_reads_are_refused(alice):
    response = alice.get(f"/api/transfers/?{'&'.join(['a=1'] * 1001)}")

    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


def test_permissions_are_checked_before_the_query(alice, anyone):
    assert alice.get("/api/users/?nothing=1").status_code == 403
    assert anyone.get("/api/transfers/?nothing=1").status_code == 401


def test_a_write_ignores_the_query(boss, alice, bob):
    transfer = alice.send(bob.account, 1).json()["id"]

    assert boss.delete(f"/api/transfers/{transfer}/?currency=EUR&x=1").status_code == 204


def test_a_user_with_more_accounts_than_branches_sees_all_transfers(bob, alice, monkeypatch):
    monkeypatch.setattr("accounts.models.MOST_BRANCHED_ACCOUNTS", 3)
    for _ in range(4):
        alice.send(alice.open_account(1), 1)
        alice.send(bob.account, 1)
    rows = Transfer.objects.order_by("-date", "-id").values_list("id", flat=True)

    assert [row["id"] for row in alice.get("/api/transfers/").json()] == list(rows)
