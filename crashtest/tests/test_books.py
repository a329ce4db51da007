"""The crash test notices lost, doubled and altered operations of each kind."""

import json
from types import SimpleNamespace as Row

import pytest

from crashtest.books import Books, discrepancies
from crashtest.clients import TRANSFERS, Answer, Memory, Operation, Outcome

OPENINGS = {1: 100, 2: 100}
SENT = {"origin": 1, "destination": 2, "balance": 30, "reference": "alice 1 0"}
ANSWERED = {"id": 7, "currency": "USD", **SENT}


@pytest.fixture
def memory() -> Memory:
    """The memory of one transfer that was acknowledged, and then cancelled."""
    answer = Answer(201, json.dumps(ANSWERED).encode())
    operation = Operation("alice", "key-1", TRANSFERS, SENT, Outcome.BOOKED, answer)
    return Memory(operations=[operation], cancels={7: Outcome.BOOKED})


@pytest.fixture
def books() -> Books:
    """The correct rows for it."""
    names = ("account_id", "seq", "kind", "transfer_id", "amount", "balance_after")
    entries = [
        (1, 1, "opening", None, 100, 100),
        (1, 2, "transfer", 7, -30, 70),
        (1, 3, "cancellation", 7, 30, 100),
        (2, 1, "opening", None, 100, 100),
        (2, 2, "transfer", 7, 30, 130),
        (2, 3, "cancellation", 7, -30, 100),
    ]
    return Books(
        transfers=[Row(**ANSWERED, cancelled=True, created_by="alice", cancelled_by="bob")],
        keys=[Row(username="alice", key="key-1", status=201, body=json.dumps(ANSWERED))],
        accounts=[Row(id=id, balance=100, last_seq=3) for id in OPENINGS],
        entries=[Row(**dict(zip(names, entry, strict=True))) for entry in entries],
    )


def test_books_that_agree_have_no_discrepancies(memory, books):
    assert list(discrepancies(memory, books, OPENINGS)) == []


def lose_the_transfer(memory, books):
    books.transfers.clear()


def double_the_transfer(memory, books):
    books.transfers.append(Row(**{**vars(books.transfers[0]), "id": 8}))


def change_the_amount(memory, books):
    books.transfers[0].balance = 31


def book_for_somebody_else(memory, books):
    books.transfers[0].created_by = "bob"


def lose_the_key(memory, books):
    books.keys.clear()


def keep_another_answer(memory, books):
    books.keys[0].body = "{}"


def invent_a_key(memory, books):
    books.keys.append(Row(username="bob", key="key-1", status=201, body="{}"))


def book_a_refused_transfer(memory, books):
    memory.operations[0].outcome = Outcome.REFUSED


def book_half_a_batch(memory, books):
    other = {**SENT, "reference": "alice 1 1"}
    memory.operations[0].outcome = Outcome.UNKNOWN
    memory.operations[0].body = {"transfers": [SENT, other]}


def forget_the_cancellation(memory, books):
    books.transfers[0].cancelled = False


def cancel_unasked(memory, books):
    memory.cancels.clear()


def make_money(memory, books):
    books.accounts[0].balance = 101


def leave_a_gap(memory, books):
    del books.entries[1]


def enter_one_side(memory, books):
    del books.entries[-1]


@pytest.mark.parametrize(
    "spoil",
    [
        lose_the_transfer,
        double_the_transfer,
        change_the_amount,
        book_for_somebody_else,
        lose_the_key,
        keep_another_answer,
        invent_a_key,
        book_a_refused_transfer,
        book_half_a_batch,
        forget_the_cancellation,
        cancel_unasked,
        make_money,
        leave_a_gap,
        enter_one_side,
    ],
)
def test_books_that_differ_are_reported(memory, books, spoil):
    spoil(memory, books)

    assert list(discrepancies(memory, books, OPENINGS))
