"""Writing the records of what staff does; the API and the admin both come here.

Call these in the transaction that makes the change: both are committed, or neither is.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404

from accounts import ledger
from accounts.models import Account, Transfer
from almaFintech.db import chains, clock
from almaFintech.db.querysets import locked, locked_single
from audit.models import End, Record
from login.models import Profile

M = TypeVar("M", bound=Model)
Staff = AbstractBaseUser | AnonymousUser
State = Mapping[str, Any]

HIDDEN = "***"
# Rows read at once by the verification.
PAGE = 5_000
FIELDS: Mapping[type[Model], tuple[str, ...]] = {
    User: (
        *("username", "password", "first_name", "last_name", "email"),
        *("is_staff", "is_active", "is_superuser"),
    ),
    Profile: ("cuit", "phone", "company"),
    Account: ("currency", "balance"),
    # A cancellation records its own change; nothing else of a transfer can be edited.
    Transfer: ("origin_id", "destination_id", "balance", "currency", "reference"),
}


def state_of(row: Model) -> State:
    """What a record tells of a row; of a user also the profile, which the admin edits with it."""
    fields = FIELDS[row._meta.model]
    state = {name.removesuffix("_id"): getattr(row, name) for name in fields}
    if isinstance(row, Profile):
        state["accounts"] = sorted(row.accounts.values_list("pk", flat=True))
    elif isinstance(row, User):
        profile = Profile.objects.filter(user=row).first()
        if profile:
            state |= {f"profile.{name}": value for name, value in state_of(profile).items()}
    return state


def locked_row(row: M) -> M:
    """The row as it is now, and as only this transaction can change it. Raises Http404.

    Without the lock, what somebody else changes meanwhile would be recorded as done by whoever
    asks here.
    """
    if isinstance(row, Profile):
        # A profile belongs to its user, who may be gone, and changes under the user's lock.
        get_object_or_404(locked(User._base_manager.all()), pk=row.user_id)
        return _read_again(row)
    rows = locked(row._meta.model._base_manager.all())
    return cast(M, get_object_or_404(rows, pk=row.pk))


def locked_to_delete(rows: Iterable[M]) -> list[M]:
    """The same for rows that are to be deleted, locked in the order in which the ledger does it."""
    rows = list(rows)
    ledger.lock_to_close(row.pk for row in rows if isinstance(row, Account))
    return [locked_row(row) for row in rows]


def created(by: Staff, row: Model, *, reason: str = "") -> None:
    _write(by, Record.Action.CREATED, [(row, {}, state_of(_read_again(row)))], reason)


def booked(by: Staff, transfers: Iterable[Transfer]) -> None:
    """Record transfers that were just booked, if `by` is staff: those of users are in the ledger.

    They are not read again: the ledger has given each object what it wrote.
    """
    if cast(User, by).is_staff:
        _write(by, Record.Action.CREATED, [(row, {}, state_of(row)) for row in transfers])


def changed(by: Staff, row: Model, before: State, *, reason: str = "") -> None:
    """Record what became of `before`, unless that is nothing."""
    _write(by, Record.Action.CHANGED, [(row, before, state_of(_read_again(row)))], reason)


@contextmanager
def changing(by: Staff, row: Model, *, reason: str = "") -> Iterator[None]:
    """Record what the block changes in a locked row."""
    before = state_of(row)
    yield
    changed(by, row, before, reason=reason)


def deleted(by: Staff, rows: Iterable[Model], *, reason: str = "") -> None:
    """Record locked rows that are about to be deleted."""
    _write(by, Record.Action.DELETED, [(row, state_of(row), {}) for row in rows], reason)


def cancelled(by: Staff, transfers: Iterable[Transfer]) -> None:
    states = {"cancelled": False}, {"cancelled": True}
    _write(by, Record.Action.CANCELLED, [(transfer, *states) for transfer in transfers])


def _write(
    by: Staff, action: str, rows: Iterable[tuple[Model, State, State]], reason: str = ""
) -> None:
    user = cast(User, by)
    records = [
        Record(
            by=user.pk,
            username=user.get_username(),
            action=action,
            kind=str(row._meta.model_name),
            number=row.user_id if isinstance(row, Profile) else row.pk,
            changes=changes,
            reason=reason,
        )
        for row, before, after in rows
        if (changes := _changes(before, after))
    ]
    if records:
        _append(records)


def _append(records: list[Record]) -> None:
    """Add records to the end of the chain, which is the last row that a change locks."""
    end = locked_single(End)
    now = clock.now()
    for record in records:
        record.seq = end.seq = end.seq + 1
        record.date = now
        record.digest, end.seal = chains.append(bytes(end.seal), record.content())
    # Past the guards that the models put before everybody else.
    QuerySet[Record](Record).bulk_create(records)
    QuerySet[End](End).filter(pk=end.pk).update(seq=end.seq, seal=end.seal)


class Verification:
    """One pass over the chain of records.

    recorded: number and digest of a record, as somebody has written them down elsewhere.

    Attributes, complete once `run` is exhausted:
        seq, digest: of the last record.
    """

    def __init__(self, recorded: tuple[int, bytes] | None = None) -> None:
        self.recorded = recorded
        self.seq = 0
        self.digest = b""

    def run(self) -> Iterator[tuple[str, Any, Any, int | None]]:
        """Yield what is wrong, as (check, expected, found, number of the record).

        The checks are `record_seq`: records count 1, 2, 3 ... without a gap; `record`: the digest
        of each follows from the one before, by the key of the ledger; `trail`: the end is the last
        record's, and sealed by that key; `record_head`: what was recorded is still there.
        """
        recorded_seq, recorded_digest = self.recorded or (None, None)
        found_digest = None
        chain = chains.Follower(End.NAME)
        records = Record.objects.order_by("seq")
        # From the very first one: a record of a number below 1 would be shown like all others.
        page = list(records[:PAGE])
        while page:
            for record in page:
                if record.seq != self.seq + 1:
                    yield "record_seq", self.seq + 1, record.seq, record.seq
                self.seq, self.digest = record.seq, bytes(record.digest)
                if self.seq == recorded_seq:
                    found_digest = self.digest
                if not chain.accepts(record.content(), self.digest):
                    yield "record", "a digest that the key gives", self.digest, self.seq
            page = list(records.filter(seq__gt=self.seq)[:PAGE])
        end = End.objects.first()
        sealed = f"the seal of record {self.seq}"
        if end is None:
            yield "trail", sealed, None, None
        elif end.seq != self.seq or not chain.ends_in(bytes(end.seal)):
            yield "trail", sealed, f"that of record {end.seq}", None
        if found_digest != recorded_digest:
            yield "record_head", recorded_digest, found_digest, recorded_seq


def _changes(before: State, after: State) -> dict[str, list[Any]]:
    return {
        name: [_shown(name, state.get(name)) for state in (before, after)]
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }


def _shown(name: str, value: Any) -> Any:
    return HIDDEN if name == "password" and value is not None else value


def _read_again(row: M) -> M:
    # Somebody may have deleted it since it was first read.
    return cast(M, get_object_or_404(row._meta.model._base_manager, pk=row.pk))
