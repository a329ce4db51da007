"""Statements that a connection prepares once."""

import pytest
from django.db import DatabaseError, connection, transaction
from psycopg.pq import TransactionStatus

from almaFintech.db.prepared import Prepared
from almaFintech.db.scripts import Script
from almaFintech.tests.round_trips import messages_to
from conftest import only_on_postgresql

ADD = Prepared("add", "SELECT %s + %s, '%%'", ("bigint", "bigint"))
NOWHERE = Prepared("nowhere", "SELECT 1 FROM nowhere")


def test_a_statement_and_its_call():
    assert ADD.definition == f"PREPARE {ADD.key}(bigint, bigint) AS SELECT $1 + $2, '%'"
    assert ADD.call == f"EXECUTE {ADD.key}(%s, %s)"
    assert NOWHERE.call == f"EXECUTE {NOWHERE.key}"


def test_other_statements_and_types_have_other_keys():
    others = [
        ADD,
        Prepared("add", "SELECT %s - %s, '%%'", ADD.types),
        Prepared("add", ADD.sql),
        Prepared("sum", ADD.sql, ADD.types),
    ]
    assert len({each.key for each in others}) == 4


def added(*values: int) -> int:
    script = Script()
    found = script.add(ADD, *values)
    script.run()
    [(total, _)] = found
    return total


@pytest.fixture
def fresh(transactional_db):
    """A connection that has prepared nothing yet."""
    connection.close()
    connection.ensure_connection()


@pytest.fixture
def prepared(fresh):
    added(0, 0)


@only_on_postgresql
def test_it_prepares_once(fresh):
    assert len(messages_to(connection, lambda: added(1, 2))) == 2
    assert len(messages_to(connection, lambda: added(3, 4))) == 1


@only_on_postgresql
def test_another_connection_prepares_anew(fresh):
    assert added(1, 2) == 3
    connection.close()
    assert added(2**62, 4) == 2**62 + 4


@only_on_postgresql
def test_a_connection_that_was_lost_is_forgotten(fresh):
    assert added(1, 2) == 3
    connection.connection.close()
    connection.close_if_unusable_or_obsolete()
    connection.close()
    assert added(3, 4) == 7


@only_on_postgresql
def test_it_stays_prepared_after_a_rollback(fresh):
    with transaction.atomic():
        assert added(1, 2) == 3
        transaction.set_rollback(True)
    assert len(messages_to(connection, lambda: added(3, 4))) == 1


@only_on_postgresql
def test_a_statement_that_cannot_be_prepared_is_tried_again(fresh):
    for _ in range(2):
        script = Script()
        script.add(NOWHERE)
        with pytest.raises(DatabaseError, match="nowhere"):
            script.run()
    assert added(1, 2) == 3


# A script begins and commits with its own messages.


def end(*, last: bool) -> Script:
    script = Script()
    script.add(ADD, 1, 2)
    script.run(last=last)
    return script


def status() -> str:
    return TransactionStatus(connection.connection.pgconn.transaction_status).name


@only_on_postgresql
def test_the_last_message_commits(prepared):
    with transaction.atomic():
        assert end(last=False).has_committed is False
        assert status() == "INTRANS"
        assert end(last=True).has_committed is True
        assert status() == "IDLE"


@only_on_postgresql
def test_both_take_one_message(prepared):
    def work():
        with transaction.atomic():
            end(last=True)

    assert messages_to(connection, work) == ["Query"]


@only_on_postgresql
@pytest.mark.parametrize("savepoint", [True, False])
def test_a_part_of_a_transaction_does_not_commit(prepared, savepoint):
    with transaction.atomic():
        with transaction.atomic(savepoint=savepoint):
            assert end(last=True).has_committed is False
        assert status() == "INTRANS"


@only_on_postgresql
def test_outside_of_a_block_nothing_begins(prepared):
    assert end(last=True).has_committed is False
    assert status() == "IDLE"


@only_on_postgresql
@pytest.mark.parametrize("savepoint", [True, False])
def test_a_transaction_without_a_block_is_left_to_its_owner(prepared, savepoint):
    transaction.set_autocommit(False)
    try:
        with transaction.atomic(savepoint=savepoint):
            assert end(last=True).has_committed is False
        for _ in range(2):
            assert added(1, 2) == 3
            assert status() == "INTRANS"
            transaction.rollback()
    finally:
        transaction.set_autocommit(True)


@only_on_postgresql
def test_the_next_block_begins_as_usual(prepared):
    with transaction.atomic():
        end(last=True)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert status() == "INTRANS"
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert status() == "IDLE"


@only_on_postgresql
def test_an_error_undoes_the_block(prepared):
    fail = Prepared("fail", "SELECT 1 / %s", ("bigint",))
    script = Script()
    script.add(fail, 0)
    with pytest.raises(DatabaseError, match="zero"), transaction.atomic():
        script.run(last=True)
    assert status() == "IDLE"
    assert added(1, 2) == 3
