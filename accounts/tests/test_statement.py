"""The statement of an account, and its balance at a moment."""

import csv
import io
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import ledger
from accounts.models import Account, Entry, Transfer

COLUMNS = "seq,date,kind,transfer,counterparty,reference,amount,balance_after"


def moments_of(account: Account) -> list[datetime]:
    return list(Entry.objects.of(account.pk).values_list("date", flat=True))


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def path_of(account: Account, **query: str) -> str:
    query_string = "&".join(f"{name}={value}" for name, value in query.items())
    return f"/api/accounts/{account.pk}/statement/?{query_string}"


def read_csv(response) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode())))


@pytest.fixture
def history(alice, bob, boss):
    """Alice's account: opened, paid, was paid, had a payment cancelled, was corrected."""
    account = alice.account
    body = {"origin": account.pk, "destination": bob.account.pk, "balance": 300_000}
    paid = alice.post("/api/transfers/", {**body, "reference": "rent"}).json()
    boss.patch(f"/api/accounts/{bob.account.pk}/", {"balance": 350_000})
    bob.send(account, 50_000)
    boss.cancel(paid["id"])
    boss.patch(f"/api/accounts/{account.pk}/", {"balance": 7, "reason": "a fee"})
    return account


def test_every_change_is_an_entry(alice, bob, history):
    first, second = Transfer.objects.order_by("id")
    opened, paid, was_paid, given_back, corrected = moments_of(history)

    statement = alice.get(path_of(history)).json()

    assert statement.pop("to") is not None
    assert statement == {
        "account": history.pk,
        "currency": "USD",
        "from": None,
        "opening_balance": 0,
        "closing_balance": 7,
        "entries": [
            {
                "seq": 1,
                "date": iso(opened),
                "kind": "opening",
                "transfer": None,
                "counterparty": None,
                "reference": "",
                "amount": 1_000_000,
                "balance_after": 1_000_000,
            },
            {
                "seq": 2,
                "date": iso(paid),
                "kind": "transfer",
                "transfer": first.pk,
                "counterparty": bob.account.pk,
                "reference": "rent",
                "amount": -300_000,
                "balance_after": 700_000,
            },
            {
                "seq": 3,
                "date": iso(was_paid),
                "kind": "transfer",
                "transfer": second.pk,
                "counterparty": bob.account.pk,
                "reference": "",
                "amount": 50_000,
                "balance_after": 750_000,
            },
            {
                "seq": 4,
                "date": iso(given_back),
                "kind": "cancellation",
                "transfer": first.pk,
                "counterparty": bob.account.pk,
                "reference": "rent",
                "amount": 300_000,
                "balance_after": 1_050_000,
            },
            {
                "seq": 5,
                "date": iso(corrected),
                "kind": "adjustment",
                "transfer": None,
                "counterparty": None,
                "reference": "a fee",
                "amount": -1_049_993,
                "balance_after": 7,
            },
        ],
    }


def test_a_period_includes_its_start_and_not_its_end(alice, history):
    _, paid, _, given_back, _ = moments_of(history)

    statement = alice.get(path_of(history, **{"from": iso(paid), "to": iso(given_back)})).json()

    assert (statement["from"], statement["to"]) == (iso(paid), iso(given_back))
    assert [entry["seq"] for entry in statement["entries"]] == [2, 3]
    assert (statement["opening_balance"], statement["closing_balance"]) == (1_000_000, 750_000)


@pytest.mark.parametrize(
    ("query", "balance"),
    [({"to": "2001-02-03"}, 0), ({"from": "2999-01-01", "to": "2999-01-02"}, 7)],
)
def test_a_period_without_entries_has_balances(alice, history, query, balance):
    statement = alice.get(path_of(history, **query)).json()

    assert statement["entries"] == []
    assert (statement["opening_balance"], statement["closing_balance"]) == (balance, balance)


def test_all_pages_cover_the_same_period(alice, bob, boss, history):
    boss.patch(f"/api/accounts/{bob.account.pk}/", {"balance": 100})
    seen, url, balances = [], path_of(history, limit="2"), set()
    while url:
        response = alice.get(url)
        statement = response.json()
        seen += [entry["seq"] for entry in statement["entries"]]
        balances.add((statement["opening_balance"], statement["closing_balance"]))
        links = dict(
            reversed(link.split("; ")) for link in response.get("Link", "").split(", ") if link
        )
        url = links.get('rel="next"', "").strip("<>").removeprefix("http://testserver")
        # Entries booked between two pages belong to a later statement.
        assert bob.send(history, 1).status_code == 201

    assert seen == [1, 2, 3, 4, 5]
    assert balances == {(0, 7)}


@pytest.mark.parametrize("how", ["format", "header"])
def test_a_statement_as_csv(alice, history, how):
    response = (
        alice.get(path_of(history, format="csv"))
        if how == "format"
        else alice.get(path_of(history), accept="text/csv")
    )

    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == f'attachment; filename="statement-{history.pk}.csv"'
    header, *rows, total = read_csv(response)
    assert header == COLUMNS.split(",")
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    entries = alice.get(path_of(history)).json()["entries"]
    assert rows == [["" if cell is None else str(cell) for cell in e.values()] for e in entries]
    assert (total[0], total[-2:]) == ("total", ["7", "7"])


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t"]
)
def test_a_reference_cannot_be_a_formula(alice, bob, start):
    Transfer.objects.create(
        origin=alice.account, destination=bob.account, balance=1, reference=f"{start}1+1"
    )

    [_, _, row, _] = read_csv(alice.get(path_of(alice.account, format="csv")))

    assert row[5] == f"'{start}1+1"


def test_a_long_statement_is_read_in_pieces(alice, bob, monkeypatch):
    monkeypatch.setattr("accounts.statements.ROWS_AT_A_TIME", 10)
    ledger.post(
        [Transfer(origin=alice.account, destination=bob.account, balance=1) for _ in range(35)]
    )

    with CaptureQueriesContext(connection) as captured:
        _, *rows, total = read_csv(alice.get(path_of(alice.account, format="csv")))

    assert len(rows) == 36
    assert total[-2:] == ["999965", "999965"]
    assert sum("LIMIT 10" in query["sql"] for query in captured.captured_queries) == 5


@pytest.mark.parametrize("accept", ["text/csv", "text/*"])
def test_options_are_json_even_for_csv_requests(alice, history, accept):
    for query in {}, {"format": "csv"}:
        response = alice.request("OPTIONS", path_of(history, **query), Accept=accept)

        assert response.status_code == 200
        assert response.json()["name"] == "Statement"


def test_errors_are_json_even_for_csv_requests(alice, history):
    response = alice.get(path_of(history, format="csv", to="yesterday"))

    assert response.status_code == 400
    assert response["Content-Type"] == "application/json"
    assert list(response.json()) == ["to"]


@pytest.mark.parametrize("query", ["limit=1", "limit=abc", "cursor=zzz"])
def test_csv_is_not_paginated(alice, history, query):
    path, name = f"/api/accounts/{history.pk}/statement/?{query}", query.partition("=")[0]

    for response in alice.get(f"{path}&format=csv"), alice.get(path, accept="text/csv"):
        assert response.status_code == 400
        assert response.json() == {name: ["CSV is not paginated."]}


@pytest.mark.parametrize("name", ["from", "to", "at"])
@pytest.mark.parametrize(
    "value", ["", "yesterday", "2026-13-01", "1", "%00", "0001-01-01T00:00:00%2B14:00"]
)
def test_a_moment_is_iso_8601(alice, name, value):
    path = f"/api/accounts/{alice.account.pk}/" + ("" if name == "at" else "statement/")

    response = alice.get(f"{path}?{name}={value}")

    assert response.status_code == 400
    assert list(response.json()) == [name]


def test_a_period_does_not_end_before_it_starts(alice):
    response = alice.get(path_of(alice.account, **{"from": "2026-01-02", "to": "2026-01-01"}))

    assert response.status_code == 400
    assert list(response.json()) == ["to"]


@pytest.mark.parametrize("format", ["json", "csv"])
def test_a_period_that_begins_in_the_future_is_empty(alice, history, format):
    response = alice.get(path_of(history, **{"from": "2999-01-01"}, format=format))

    assert response.status_code == 200
    if format == "csv":
        [_, total] = read_csv(response)
        assert total == ["total", "2999-01-01T00:00:00Z", "", "", "", "", "0", "7"]
        return
    statement = response.json()
    assert statement["from"] == statement["to"] == "2999-01-01T00:00:00Z"
    assert statement["entries"] == []
    assert (statement["opening_balance"], statement["closing_balance"]) == (7, 7)


def test_the_balance_at_a_moment(alice, history):
    path = f"/api/accounts/{history.pk}/"
    balances = [1_000_000, 700_000, 750_000, 1_050_000, 7]

    for moment, balance in zip(moments_of(history), balances, strict=True):
        assert alice.get(f"{path}?at={iso(moment)}").json() == {
            "id": history.pk,
            "currency": "USD",
            "balance": balance,
            "at": iso(moment),
        }
    opened = moments_of(history)[0]
    before = iso(opened - timedelta(microseconds=1))
    assert alice.get(f"{path}?at={before}").json()["balance"] == 0
    assert alice.get(f"{path}?at=2999-01-01").json()["balance"] == 7


def test_the_balance_at_a_moment_takes_one_more_query(alice, history):
    with CaptureQueriesContext(connection) as plain:
        alice.get(f"/api/accounts/{history.pk}/")
    with CaptureQueriesContext(connection) as then:
        alice.get(f"/api/accounts/{history.pk}/?at=2026-01-01")

    assert len(then) == len(plain) + 1


@pytest.mark.parametrize("query", ["statement/", "statement/?format=csv", "?at=2026-01-01"])
def test_the_statement_of_a_stranger_returns_404(alice, bob, query):
    unseen = bob.get(f"/api/accounts/{alice.account.pk}/{query}")
    unknown = bob.get(f"/api/accounts/{10**9}/{query}")

    assert unseen.status_code == unknown.status_code == 404
    assert unseen.json() == unknown.json()


def test_the_counterparty_of_a_deleted_account_keeps_its_number(alice, bob, boss):
    alice.send(bob.account, 5)
    boss.delete(f"/api/accounts/{bob.account.pk}/")

    [_, entry] = alice.get(path_of(alice.account)).json()["entries"]

    assert entry["counterparty"] == bob.account.pk


def test_dates_do_not_go_back_when_clocks_do(alice, bob, monkeypatch):
    alice.send(bob.account, 1)
    [*_, last] = moments_of(alice.account)
    monkeypatch.setattr("almaFintech.db.clock.moment", lambda read: last - timedelta(seconds=90))

    Transfer.objects.create(origin=alice.account, destination=bob.account, balance=1)

    assert moments_of(alice.account)[-1] == last


@pytest.fixture
def changed(boss):
    """Return an account that held dollars, yen, and dollars again, and the moments of change."""
    account = Account.objects.create(currency="USD", balance=1_000_000)
    path = f"/api/accounts/{account.pk}/"
    boss.patch(path, {"currency": "JPY", "balance": 7})
    boss.patch(path, {"currency": "USD", "balance": 5})
    dollars, _, yen, _, dollars_again = moments_of(account)
    return account, dollars, yen, dollars_again


def test_a_statement_is_in_the_currency_of_its_end(boss, changed):
    account, dollars, yen, dollars_again = changed

    def statement(start, end):
        period = {"from": iso(start), "to": iso(end)}
        body = boss.get(path_of(account, **period)).json()
        _, *rows, total = read_csv(boss.get(path_of(account, format="csv", **period)))
        assert [[int(row[0]), int(row[6])] for row in rows] == [
            [entry["seq"], entry["amount"]] for entry in body["entries"]
        ]
        assert int(total[6]) == body["closing_balance"] - body["opening_balance"]
        assert int(total[7]) == body["closing_balance"]
        seqs = [entry["seq"] for entry in body["entries"]]
        return body["currency"], body["opening_balance"], body["closing_balance"], seqs

    later = dollars_again + timedelta(days=1)
    assert statement(dollars, yen) == ("USD", 0, 1_000_000, [1])
    assert statement(yen, dollars_again) == ("JPY", 0, 7, [3])
    assert statement(dollars, later) == ("USD", 0, 5, [1, 2, 5])
    assert statement(yen, later) == ("USD", 1_000_000, 5, [2, 5])
    assert statement(dollars_again, later) == ("USD", 0, 5, [5])


def test_a_balance_at_a_moment_is_in_the_currency_of_that_moment(boss, changed):
    account, dollars, yen, _ = changed

    for moment, currency, balance in (dollars, "USD", 1_000_000), (yen, "JPY", 7):
        body = boss.get(f"/api/accounts/{account.pk}/?at={iso(moment)}").json()
        assert (body["currency"], body["balance"]) == (currency, balance)


def test_a_statement_until_now_has_every_entry(alice, bob, monkeypatch):
    """The server that booked the last entry had a clock that is ahead of this one."""
    with monkeypatch.context() as ahead:
        later = timezone.now() + timedelta(minutes=2)
        ahead.setattr("almaFintech.db.clock.moment", lambda read: later)
        Transfer.objects.create(origin=alice.account, destination=bob.account, balance=1)

    statement = alice.get(path_of(alice.account)).json()

    assert statement["closing_balance"] == alice.balance == 999_999
    assert [entry["seq"] for entry in statement["entries"]] == [1, 2]


@pytest.fixture
def closed(alice, bob, boss):
    """Return the number of a closed account of alice, and a moment when it was open."""
    account = alice.open_account(9)
    alice.post(
        "/api/transfers/",
        {"origin": account.pk, "destination": bob.account.pk, "balance": 4},
    )
    open_until = Account.objects.get(pk=account.pk).last_date
    boss.delete(f"/api/accounts/{account.pk}/")
    return account.pk, open_until


def test_staff_reads_the_statement_of_a_closed_account(boss, closed):
    number, _ = closed
    path = f"/api/accounts/{number}/statement/"

    statement = boss.get(path).json()
    csv = b"".join(boss.get(f"{path}?format=csv")).decode().splitlines()

    assert [entry["amount"] for entry in statement["entries"]] == [9, -4, -5]
    assert (statement["account"], statement["currency"]) == (number, "USD")
    assert (statement["opening_balance"], statement["closing_balance"]) == (0, 0)
    assert [line.split(",")[-2] for line in csv] == ["amount", "9", "-4", "-5", "0"]
    assert len(boss.get(f"{path}?limit=2").json()["entries"]) == 2


def test_staff_reads_a_past_balance_of_a_closed_account(boss, closed):
    number, open_until = closed
    path = f"/api/accounts/{number}/"

    then = boss.get(f"{path}?at={iso(open_until)}")
    now = boss.get(f"{path}?at=2999-01-01")

    assert (then.status_code, then.json()["balance"], then.json()["currency"]) == (200, 5, "USD")
    assert (now.status_code, now.json()["balance"]) == (200, 0)
    assert "ETag" not in then
    assert boss.get(f"{path}?at=2000-01-01").json()["balance"] == 0


@pytest.mark.parametrize("id", [None, 10**6, 2**63, 10**30])
def test_only_staff_reads_only_the_history_of_a_closed_account(alice, boss, closed, id):
    path = f"/api/accounts/{id or closed[0]}/"
    refused = [alice.get(f"{path}?at=2999-01-01"), alice.get(f"{path}statement/")]
    refused += [boss.get(path), boss.get(f"{path}transfers/"), boss.patch(path, {"balance": 1})]
    if id:
        refused += [boss.get(f"{path}?at=2999-01-01"), boss.get(f"{path}statement/")]

    assert {response.status_code for response in refused} == {404}
    assert {response.json()["detail"] for response in refused} == {
        "No Account matches the given query."
    }


@pytest.mark.parametrize(
    "moment",
    [
        *("2026-05-01", "2026-05-01T12:00", "2026-05-01T12:00:00", "2026-05-01T12:00:00.123456"),
        *("2026-05-01T12:00Z", "2026-05-01T12:00:00%2B02:00", "2026-05-01T12:00:00.1-03:00"),
    ],
)
def test_the_forms_of_a_moment_in_the_error_are_accepted(alice, moment):
    for path in (f"accounts/{alice.account.pk}/?at=", "transfers/?date_from="):
        assert alice.get(f"/api/{path}{moment}").status_code == 200


@pytest.mark.parametrize(
    "moment",
    [
        *("20260501", "2026-W18-5", "2026-05", "2026-05-01 12:00", "2026-05-01T12", "2026-5-1"),
        *("2026-05-01T12:00:00,5", "2026-05-01t12:00", "2026-05-01T12:00z", "2026-05-01Z"),
        *(
            "2026-05-01T120000",
            "2026-05-01T12:00%2B02",
            "2026-02-30",
            "2026-05-01T12:00:00.1234567",
        ),
    ],
)
def test_other_forms_of_a_moment_are_refused(alice, moment):
    error = (
        "Datetime has wrong format. Use one of these formats instead: "
        "YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z], YYYY-MM-DD."
    )

    refused = alice.get(f"/api/accounts/{alice.account.pk}/?at={moment}")
    assert (refused.status_code, refused.json()) == (400, {"at": [error]})
    assert alice.get(f"/api/transfers/?date_to={moment}").json() == {"date_to": [error]}
