"""Pages of lists cost no more on a million rows, according to PostgreSQL's query plans.

Every SELECT of the requests below runs under EXPLAIN ANALYZE first. None may read a whole big
table, and none may read many more rows than it returns, whether for a sort, a filter or a count.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from almaFintech.tests.sql import spelled_out
from conftest import Person

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="The plans are PostgreSQL's"),
    pytest.mark.django_db,
]

TRANSFERS, ACCOUNTS, USERS = 1_000_000, 100_000, 100_000
# The user who has 1000 accounts more.
MERCHANT = USERS - 2
BIG_TABLES = {
    "accounts_transfer",
    "accounts_account",
    "accounts_entry",
    "auth_user",
    "login_profile",
    "login_profile_accounts",
}
# A page has 101 rows. If a filter and the order use different columns, PostgreSQL either walks the
# order or sorts the matches, and may read some percent of the rows. It assumes that the columns are
# independent, so the data below keeps them independent.
MOST_ROWS = 50_000

# One transfer a minute, most of them in USD. Account 1 has one in five of them, account 3 the first
# three, account 4 none, account 5 many but no recent ones; account 2 pays account 1 every day. The
# accounts of the merchant received something in the first weeks only.
FILL = f"""
SET session_replication_role = replica;
INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_staff, is_active,
                       is_superuser, date_joined)
SELECT n, 'user' || n, '', '', '', 'user' || n || '@example.com', n % 5000 = 0, n % 1000 <> 999,
       false, now()
FROM generate_series(1, {USERS}) n;
INSERT INTO login_profile (id, user_id) SELECT n, n FROM generate_series(1, {USERS}) n;
INSERT INTO accounts_account (id, currency, balance, last_seq, seal)
SELECT n, CASE WHEN n % 1000 = 7 THEN 'CHF' WHEN n % 10 = 5 THEN 'EUR' ELSE 'USD' END,
       CASE WHEN n % 3 = 0 THEN 0 ELSE n * 7919 % 100003 * 1000 END, 1, ''
FROM generate_series(1, {ACCOUNTS} + 1000) n;
INSERT INTO login_profile_accounts (profile_id, account_id)
SELECT n, n FROM generate_series(10, {USERS}) n
UNION ALL SELECT 1, n FROM generate_series(1, 5) n
UNION ALL SELECT 2, n FROM generate_series(3, 4) n UNION ALL SELECT 3, 5
UNION ALL SELECT {MERCHANT}, {ACCOUNTS} + n FROM generate_series(1, 1000) n;
INSERT INTO accounts_transfer (id, date, origin_id, destination_id, currency, balance, cancelled,
                               cancelled_at, reference)
SELECT n, '2024-01-01Z'::timestamptz + n * interval '1 minute',
       CASE WHEN n <= 3 THEN 3 WHEN n % 10 = 0 THEN 1 WHEN n % 1440 = 1 THEN 2
            ELSE 10 + n::bigint * 7919 % 49990 * 2 END,
       CASE WHEN n % 10 = 1 THEN 1 WHEN n % 10 = 3 AND n < 300000 THEN 5
            WHEN n % 10 = 7 AND n < 30000 THEN {ACCOUNTS} + 1 + n / 10 % 1000
            ELSE 11 + n::bigint * 104729 % 49990 * 2 END,
       CASE WHEN n % 5000 = 7 THEN 'CHF' WHEN n % 10 = 5 THEN 'EUR' ELSE 'USD' END,
       1 + n::bigint * 7919 % 1000003, n % 2000 = 3,
       CASE WHEN n % 2000 = 3 THEN '2026-01-01Z'::timestamptz END,
       CASE WHEN n % 21 = 0 THEN 'rent' WHEN n % 21 = 1 THEN 'order ' || n ELSE '' END
FROM generate_series(1, {TRANSFERS}) n;
INSERT INTO accounts_entry (account_id, seq, transfer_id, counterparty, amount, balance_after,
                            date, kind, currency, reason, digest)
SELECT CASE WHEN n % 2 = 0 THEN 1 ELSE 10 + n % 9999 END, n, n, 9, 1, n,
       '2024-01-01Z'::timestamptz + n * interval '1 minute', 'transfer', 'USD', '', ''
FROM generate_series(1, {TRANSFERS // 5}) n;
SET session_replication_role = DEFAULT;
"""

PERIOD = "date_from=2024-06-01&date_to=2024-06-02"
ORDERS = {
    "/api/accounts/": ["", "ordering=-id", "ordering=balance", "ordering=-balance"],
    "/api/users/": ["", "ordering=-id", "ordering=username", "ordering=-username"],
    "/api/transfers/": ["", "ordering=date"],
    "/api/accounts/1/transfers/": [""],
}
TRANSFER_FILTERS = [
    "",
    "account=1",
    "account=3",
    "account=50",
    "account=10000000",
    "origin=1",
    "origin=50",
    "destination=1",
    "destination=3",
    "origin=1&destination=61",
    "origin=2&destination=1",
    "currency=USD",
    "currency=CHF",
    "currency=ARS",
    "cancelled=true",
    "cancelled=false",
    "reference=rent",
    "reference=order%2022",
    "reference=nothing",
    PERIOD,
    "date_to=2024-06-01",
    "date_from=2025-11-01",
    "date_from=2999-01-01",
    "date_to=2001-01-01",
    "balance_min=1000000",
    "balance_max=20",
    "balance_min=2000000",
    "balance_min=500000",
    "currency=CHF&balance_min=900000",
    "currency=USD&balance_max=20",
    f"account=1&currency=USD&cancelled=false&{PERIOD}",
    f"reference=rent&{PERIOD}",
]
FILTERS = {
    "/api/accounts/": [
        "",
        *["currency=USD", "currency=CHF", "currency=ARS", "balance_min=99000000"],
        *["balance_max=0", "balance_min=1", "balance_min=10000000000"],
        *["currency=USD&balance_min=99000000", "currency=EUR&balance_max=0"],
    ],
    "/api/users/": [
        "",
        *["username=user77", "username=nobody", "email=user77@example.com", "email=nobody"],
        *["is_staff=true", "is_staff=false", "is_active=true", "is_active=false"],
        "is_staff=true&is_active=false",
    ],
    "/api/transfers/": TRANSFER_FILTERS,
    "/api/accounts/1/transfers/": TRANSFER_FILTERS,
}
OTHER_LISTS = [
    "/api/me/",
    "/api/accounts/biggest/",
    "/api/accounts/1/?at=2024-03-01",
    "/api/accounts/1/statement/",
    "/api/accounts/1/statement/?from=2024-03-01&to=2024-04-01",
    "/api/accounts/1/statement/?to=2024-04-01&limit=10",
    "/api/accounts/1/transfers/",
]
STAFF_LISTS = [
    "/api/profiles/",
    "/api/accounts/3/transfers/",
    "/api/accounts/50/transfers/",
    "/api/transfers/3/",
]
ADMIN_LISTS = [
    "/admin/accounts/account/",
    "/admin/accounts/transfer/",
    "/admin/auth/user/",
    "/admin/login/profile/",
]


@pytest.fixture(scope="module")
def million(django_db_setup, django_db_blocker) -> Iterator[None]:
    """A million transfers and the rows they refer to, for all tests of this file."""
    tables = ", ".join(BIG_TABLES)
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        try:
            cursor.execute(
                """
                SELECT indexdef, indexname FROM pg_indexes
                WHERE tablename = ANY(%s) AND indexname NOT IN (SELECT conname FROM pg_constraint)
                """,
                [list(BIG_TABLES)],
            )
            indexes = cursor.fetchall()
            # Building an index at once is quicker than row by row.
            cursor.execute(f"DROP INDEX {', '.join(name for _, name in indexes)}")
            cursor.execute(FILL)
            cursor.execute("; ".join(definition for definition, _ in indexes))
            cursor.execute(f"VACUUM ANALYZE {tables}")
            yield
        finally:
            cursor.execute(
                f"SET session_replication_role = replica; TRUNCATE {tables} CASCADE;"
                "SET session_replication_role = DEFAULT"
            )


class Plans:
    """The query plans of some requests, and what is wrong with them.

    most_rows: a plan may read this number of rows in any of its nodes.
    most_blocks: a statement may read this number of blocks of 8 KiB, also more than once.
    """

    def __init__(self, most_rows: int = MOST_ROWS, most_blocks: float = math.inf) -> None:
        self.most_rows = most_rows
        self.most_blocks = most_blocks
        self.faults: list[str] = []
        self.statements = 0

    @contextmanager
    def of(self, request: str, *, whole_tables: bool = False) -> Iterator[None]:
        def explain(execute, sql, params, many, context):
            if spelled_out(sql).startswith(("SELECT", "(")):
                self.statements += 1
                with context["connection"].connection.cursor() as cursor:
                    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
                    [[[plan]]] = cursor.fetchall()
                self.judge(request, spelled_out(sql), plan["Plan"], whole_tables)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(explain):
            yield

    def judge(self, request: str, sql: str, plan: dict, whole_tables: bool) -> None:
        blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        if blocks > self.most_blocks:
            self.faults.append(f"{request}\n  {blocks} blocks\n  {sql}")
        for node in nodes_of(plan):
            if not node["Actual Loops"]:
                # This node never ran, so its plan costs nothing.
                continue
            table = node.get("Relation Name")
            removed = sum(count for name, count in node.items() if name.startswith("Rows Removed"))
            rows = (node["Actual Rows"] + removed) * node["Actual Loops"]
            scans_all = node["Node Type"].endswith("Seq Scan") and table in BIG_TABLES
            if rows > self.most_rows or (scans_all and not whole_tables):
                what = f"{node['Node Type']} of {table}: {rows:.0f} rows"
                self.faults.append(f"{request}\n  {what}\n  {sql}")


def nodes_of(plan: dict) -> Iterator[dict]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes_of(part)


def next_page(response) -> str | None:
    [url] = re.findall(r'<http://testserver([^<>]+)>; rel="next"', response.get("Link", "")) or [""]
    return url


def requests_of(paths) -> list[str]:
    return [
        f"{path}?{'&'.join(filter(None, [narrowed, order]))}"
        for path in paths
        for narrowed, order in product(FILTERS[path], ORDERS[path])
    ]


def check(person: Person, requests: list[str]) -> None:
    plans = Plans()
    for request in requests:
        url: str | None = request
        for _ in range(2):
            if not url:
                break
            with plans.of(url):
                response = person.get(url)
            assert response.status_code == 200, (url, response.content)
            url = next_page(response)
    assert plans.statements > len(requests)
    assert not plans.faults, "\n".join(plans.faults)


def test_requests_of_staff_read_only_their_pages(million):
    boss = Person(User.objects.get(pk=5000))

    check(boss, [*requests_of(FILTERS), *OTHER_LISTS, *STAFF_LISTS])


@pytest.mark.parametrize(("id", "account"), [(1, 1), (2, 3), (3, 5)])
def test_requests_of_a_user_read_only_their_pages(million, id, account):
    """User 1 has busy and quiet accounts, user 2 few transfers, user 3 many old ones."""
    user = Person(User.objects.get(pk=id))
    others = [path.replace("accounts/1/", f"accounts/{account}/") for path in OTHER_LISTS]

    check(user, [*requests_of(["/api/accounts/", "/api/transfers/"]), *others])


def test_a_page_of_many_quiet_accounts_reads_no_others(million):
    user = Person(User.objects.get(pk=MERCHANT))
    periods = ["", PERIOD, "date_to=2024-06-01", "date_from=2025-11-01"]

    check(user, [f"/api/transfers/?{period}" for period in periods])
    check(user, [f"/api/transfers/?ordering=date&{period}" for period in periods])
    assert len(user.get("/api/transfers/?limit=1000").json()) == 1000


def test_a_page_of_many_busy_accounts_takes_no_look_up_in_each(million):
    """A tenth of the first transfers is the merchant's; 2000 look-ups would read 6000 blocks."""
    user = Person(User.objects.get(pk=MERCHANT))
    plans = Plans(most_blocks=4500)

    for request in "?ordering=date", "?date_to=2024-01-15":
        url: str | None = f"/api/transfers/{request}"
        for _ in range(3):
            assert url
            with plans.of(url):
                response = user.get(url)
            assert len(response.json()) == 100
            url = next_page(response)

    assert plans.statements > 6
    assert not plans.faults, "\n".join(plans.faults)


def test_one_transfer_costs_the_same_for_many_accounts(million):
    user = Person(User.objects.get(pk=MERCHANT))
    plans = Plans(most_rows=10)
    transfer, account = 37, ACCOUNTS + 4

    with plans.of("one row"):
        assert user.get(f"/api/transfers/{transfer}/").status_code == 200
        assert user.get(f"/api/accounts/{account}/").status_code == 200
        assert user.cancel(transfer).status_code == 204
        assert user.cancel(18).status_code == 404

    assert plans.statements > 5
    assert not plans.faults, "\n".join(plans.faults)


def test_the_admin_opens_on_a_million_rows(million):
    boss = Person(User.objects.get(pk=5000))
    client = Client()
    client.force_login(boss.user)
    plans = Plans()

    for path in ADMIN_LISTS:
        # It counts up to 10 000 rows, and may scan the table for them.
        with plans.of(path, whole_tables=True):
            assert client.get(path).status_code == 200

    assert plans.statements > len(ADMIN_LISTS)
    assert not plans.faults, "\n".join(plans.faults)
