"""Comparison of the clients' memory with the database, read by plain SQL."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from crashtest.clients import Memory, Operation, Outcome

TRANSFERS = """
SELECT transfer.id, origin_id AS origin, destination_id AS destination, currency, balance,
       reference, cancelled, author.username AS created_by, canceller.username AS cancelled_by
FROM accounts_transfer transfer
LEFT JOIN auth_user author ON author.id = transfer.created_by_id
LEFT JOIN auth_user canceller ON canceller.id = transfer.cancelled_by_id
"""
KEYS = """
SELECT username, key, status, body
FROM accounts_idempotencykey JOIN auth_user ON auth_user.id = user_id
"""
ACCOUNTS = "SELECT id, balance, last_seq FROM accounts_account ORDER BY id"
ENTRIES = """
SELECT account_id, seq, kind, transfer_id, amount, balance_after
FROM accounts_entry ORDER BY account_id, seq
"""


@dataclass
class Books:
    """The rows of the database."""

    transfers: list[Any]
    keys: list[Any]
    accounts: list[Any]
    entries: list[Any]

    @classmethod
    def read(cls, connection: "psycopg.Connection[Any]") -> "Books":
        cursor = connection.cursor(row_factory=namedtuple_row)
        queries = (TRANSFERS, KEYS, ACCOUNTS, ENTRIES)
        return cls(*[cursor.execute(query).fetchall() for query in queries])


def discrepancies(memory: Memory, books: Books, openings: dict[int, int]) -> Iterator[str]:
    """Yield all differences from the responses that the clients got.

    openings: the opening balance of each account in micro units, by its id.
    """
    yield from operations_and_rows(memory, books)
    yield from cancellations(memory, books)
    yield from balances(books, openings)
    yield from entries(books)


def operations_and_rows(memory: Memory, books: Books) -> Iterator[str]:
    """Check that every acknowledged operation exists once, and nothing else exists."""
    rows = defaultdict(list)
    for row in books.transfers:
        rows[row.reference].append(row)
    keys = {(row.username, row.key): row for row in books.keys}
    if len(keys) < len(books.keys):
        yield "a user has a key twice"

    for operation in memory.operations:
        found = [rows.pop(item["reference"], []) for item in operation.items]
        numbers = {len(copies) for copies in found}
        expected = {
            Outcome.BOOKED: [{1}],
            Outcome.REFUSED: [{0}],
            Outcome.UNKNOWN: [{0}, {1}],
        }[operation.outcome]
        if numbers not in expected:
            yield f"{operation} has {[len(copies) for copies in found]} rows for its transfers"
        elif operation.outcome is Outcome.BOOKED:
            yield from as_acknowledged(operation, [copies[0] for copies in found])
        if numbers == {1}:
            key = keys.pop((operation.user, operation.key), None)
            if key is None:
                yield f"{operation} is booked without its key"
            elif operation.answer and (
                (key.status, json.loads(key.body))
                != (operation.answer.status, operation.answer.json())
            ):
                yield f"{operation} is stored with the response {key.status} {key.body}"

    for reference, copies in rows.items():
        yield f"nobody sent transfer {copies[0].id} with reference {reference!r}"
    for user, name in keys:
        yield f"key {name} of {user} belongs to no booked operation"


def as_acknowledged(operation: Operation, rows: list[Any]) -> Iterator[str]:
    """Check that the rows of an operation agree with its response and its request."""
    names = ("id", "origin", "destination", "currency", "balance", "reference")
    answered = [tuple(transfer[name] for name in names) for transfer in operation.booked()]
    held = [tuple(getattr(row, name) for name in names) for row in rows]
    if answered != held:
        yield f"{operation} returned {answered}, but the rows are {held}"
    for item, row in zip(operation.items, rows, strict=True):
        if any(getattr(row, name) != value for name, value in item.items()):
            yield f"{item} was sent, but the row is {row}"
        if row.created_by != operation.user:
            yield f"transfer {row.id} of {operation.user} is by {row.created_by}"


def cancellations(memory: Memory, books: Books) -> Iterator[str]:
    """Check that exactly the acknowledged cancellations have happened."""
    rows = {row.id: row for row in books.transfers}
    for id, outcome in memory.cancels.items():
        if id not in rows:
            yield f"transfer {id} is gone"
        elif outcome is Outcome.BOOKED and not (rows[id].cancelled and rows[id].cancelled_by):
            yield f"transfer {id} is not cancelled, although that was acknowledged"
        elif outcome is Outcome.REFUSED and rows[id].cancelled:
            yield f"transfer {id} is cancelled, although that was refused"
    for id, row in rows.items():
        if row.cancelled and id not in memory.cancels:
            yield f"nobody asked to cancel transfer {id}"


def balances(books: Books, openings: dict[int, int]) -> Iterator[str]:
    """Check that balances follow from openings and transfers, and that none is negative."""
    expected = Counter(openings)
    for row in books.transfers:
        if not row.cancelled:
            expected[row.origin] -= row.balance
            expected[row.destination] += row.balance
    for account in books.accounts:
        if account.balance != expected[account.id]:
            yield f"account {account.id} holds {account.balance}, not {expected[account.id]}"
        if account.balance < 0:
            yield f"account {account.id} is overdrawn: {account.balance}"
    total = sum(account.balance for account in books.accounts)
    if total != sum(openings.values()):
        yield f"the total is {total}, not {sum(openings.values())}"


def entries(books: Books) -> Iterator[str]:
    """Check that each account's entries add up to its balance, and each transfer has two sides."""
    running: Counter[int] = Counter()
    seqs: Counter[int] = Counter()
    sides: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for entry in books.entries:
        running[entry.account_id] += entry.amount
        seqs[entry.account_id] += 1
        if entry.transfer_id is not None:
            sides[entry.transfer_id].append((entry.kind, entry.amount))
        if (entry.seq, entry.balance_after) != (seqs[entry.account_id], running[entry.account_id]):
            yield f"an entry does not follow from those before it: {entry}"
    for account in books.accounts:
        if (account.balance, account.last_seq) != (running[account.id], seqs[account.id]):
            yield f"the entries of account {account.id} do not end at its balance"
    for row in books.transfers:
        kinds = ["transfer", "cancellation"] if row.cancelled else ["transfer"]
        wanted = [(kind, sign * row.balance) for kind in kinds for sign in (1, -1)]
        if sorted(sides.pop(row.id, [])) != sorted(wanted):
            yield f"transfer {row.id} does not have the entries {wanted}"
    for id in sides:
        yield f"there are entries of transfer {id}, which does not exist"
