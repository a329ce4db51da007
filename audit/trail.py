"""Records of what staff does, written for the API and the admin alike.

Call these functions in the transaction that makes the change, so that both are committed or
neither is. The models are those that the apps have registered, see `audit.register`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404

from almaFintech.db import chains, clock
from almaFintech.db.querysets import locked_single
from audit.models import End, Record
from audit.registry import State, audited

M = TypeVar("M", bound=Model)

HIDDEN = "***"


def state_of(row: Model) -> State:
    """Return the recorded values of a row, by name."""
    model = audited(row)
    state = {name.removesuffix("_id"): getattr(row, name) for name in model.fields}
    return {**state, **model.more(row)}


def locked_row(row: M) -> M:
    """Return the row as it is now, locked until the transaction ends. Raises Http404.

    Without the lock, a concurrent change by another user would be recorded as made by the user of
    this request.
    """
    return cast(M, audited(row).lock(row))


def locked_to_delete(rows: Iterable[M]) -> list[M]:
    """Return rows of one model as they are now, locked to be deleted. Raises Http404."""
    rows = list(rows)
    if rows:
        audited(rows[0]).lock_before_deletion([row.pk for row in rows])
    return [locked_row(row) for row in rows]


def created(by: User, row: Model, *, reason: str = "") -> None:
    """Record a new row."""
    _write(by, Record.Action.CREATED, [(row, {}, state_of(_read_again(row)))], reason)


@contextmanager
def changing(by: User, row: Model, *, reason: str = "") -> Iterator[None]:
    """Record what the block changes in a locked row, if it changes anything."""
    before = state_of(row)
    yield
    _write(by, Record.Action.CHANGED, [(row, before, state_of(_read_again(row)))], reason)


def deleted(by: User, rows: Iterable[Model], *, reason: str = "") -> None:
    """Record locked rows that are about to be deleted."""
    _write(by, Record.Action.DELETED, [(row, state_of(row), {}) for row in rows], reason)


def booked(by: User, rows: Iterable[Model]) -> None:
    """Record transfers that were just booked by staff; the ledger alone records other users.

    The rows are not read again: the ledger has updated each object.
    """
    if by.is_staff:
        _write(by, Record.Action.CREATED, [(row, {}, state_of(row)) for row in rows])


def cancelled(by: User, rows: Iterable[Model]) -> None:
    """Record transfers that staff just cancelled; the ledger alone records other users."""
    if by.is_staff:
        states = {"cancelled": False}, {"cancelled": True}
        _write(by, Record.Action.CANCELLED, [(row, *states) for row in rows])


def _write(
    by: User, action: str, rows: Iterable[tuple[Model, State, State]], reason: str = ""
) -> None:
    records = [
        Record(
            by=by.pk,
            username=by.get_username(),
            action=action,
            kind=str(row._meta.model_name),
            number=getattr(row, audited(row).number),
            changes=changes,
            reason=reason,
        )
        for row, before, after in rows
        if (changes := _changes(before, after))
    ]
    if records:
        _append(records)


def _changes(before: State, after: State) -> dict[str, list[Any]]:
    return {
        name: [_shown(name, state.get(name)) for state in (before, after)]
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }


def _shown(name: str, value: Any) -> Any:
    return HIDDEN if name == "password" and value is not None else value


def _append(records: list[Record]) -> None:
    """Add records to the end of the chain, which is the last row that a change locks."""
    end = locked_single(End)
    now = clock.now()
    for record in records:
        record.seq = end.seq = end.seq + 1
        record.date = now
        record.digest, end.seal = chains.append(bytes(end.seal), record.content())
    # Plain querysets, because those of the models refuse to write.
    QuerySet[Record](Record).bulk_create(records)
    QuerySet[End](End).filter(pk=end.pk).update(seq=end.seq, seal=end.seal)


def _read_again(row: M) -> M:
    # Another request may have deleted it since it was first read.
    return cast(M, get_object_or_404(row._meta.model._base_manager, pk=row.pk))
