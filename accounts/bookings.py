"""Group commit: transfers that arrive while a commit is under way go together into the next one.

A commit waits for the disk, and an account that many transfers name stays locked until then. Ten
transfers in one transaction wait once. Each of them keeps its own rules: a refusal, or a key that
was used before, concerns one request, and the others are booked.

There is no further thread: a request that finds nobody at work leads a group, alone if nobody else
is there, and hands over to the first of those that came meanwhile. The transaction is the usual one
of the leader's thread. Nobody is answered before its commit.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, OperationalError, connection, transaction
from rest_framework.response import Response

from accounts import ledger, metrics
from accounts.idempotency import Claims, KeyTaken, replay
from accounts.models import IdempotencyKey, Transfer
from accounts.permissions import ForeignOrigin, require_own_origins
from accounts.postgresql import PostgreSQLStorage
from accounts.rules import LedgerRefusal
from almaFintech.db.failures import is_lock_timeout, is_retryable
from almaFintech.db.prepared import Prepared
from almaFintech.db.scripts import Script, columns
from almaFintech.db.transactions import retried
from almaFintech.refusals import Busy, Refusal
from audit import trail

logger = logging.getLogger(__name__)

# Larger groups would keep the accounts of the first request locked for the sake of the last.
MOST_TRANSFERS = 1000
# Longer than other processes commit. An account that stays locked delays the others of its group by
# this time; then each of them waits for its own accounts.
GROUP_LOCK_MILLISECONDS = 50
# A request that waits holds a thread of the server.
MOST_WAITING = 256
WAIT_SECONDS = 10

LIMIT_WAIT = Prepared("limit_wait", "SELECT set_config('lock_timeout', %s, true)")
# The same accounts as those of `Account.objects.visible_to`.
OWN_ACCOUNTS = Prepared(
    "own_accounts",
    """
SELECT asked.* FROM unnest(%s::bigint[], %s::bigint[]) AS asked (user_id, account_id)
JOIN login_profile AS profile USING (user_id)
JOIN login_profile_accounts AS own
    ON own.profile_id = profile.id AND own.account_id = asked.account_id
""",
)


@dataclass(eq=False)
class Booking:
    """A request to book transfers, all or none.

    Attributes:
        user: who sends it, from an own account unless it is staff.
        items: the fields of each transfer.
        respond: returns the response for the booked transfers, without asking the database.
        claim: the unsaved key of the request, if it has one.
    """

    user: User
    items: Sequence[Mapping[str, Any]]
    respond: Callable[[list[Transfer]], Response]
    claim: IdempotencyKey | None = None

    # The outcome: one of these three, or nothing yet.
    response: Response | None = None
    refusal: ForeignOrigin | LedgerRefusal | None = None
    is_taken: bool = False
    # A failure after which nobody knows whether the group was committed.
    error: BaseException | None = None
    # Set when there is an outcome, or when it is this request's turn to lead.
    called: threading.Event = field(default_factory=threading.Event)

    def is_decided(self) -> bool:
        return bool(self.response or self.refusal or self.is_taken)

    def outcome(self) -> Response:
        """Return the response, or raise the refusal."""
        if self.refusal:
            raise self.refusal
        if self.is_taken:
            assert self.claim  # noqa: S101
            return replay(KeyTaken(self.claim).earlier())
        assert self.response  # noqa: S101
        return self.response


def book(booking: Booking) -> Response:
    """Book it, with others if GROUP_COMMIT is on. PostgreSQL only.

    Raises a refusal, Busy or a failure of the database.
    """
    # A transaction of the caller can hold nobody else's transfers.
    if settings.GROUP_COMMIT and not connection.in_atomic_block:
        committer.join(booking)
    if booking.error:
        raise booking.error
    if not booking.is_decided():
        # There was no group, or it was rolled back, perhaps because of another request.
        book_alone(booking)
    if isinstance(booking.refusal, LedgerRefusal):
        # Not earlier, since a group that is rolled back decides in vain.
        metrics.refused("post", booking.refusal)
    return booking.outcome()


class Committer:
    """The groups of one process: one is committed at a time, while the next one forms."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_busy = False
        self._waiting: list[Booking] = []

    def join(self, booking: Booking) -> None:
        """Let it be committed in a group. It may be undecided afterwards; raises Busy."""
        with self._guard:
            if len(self._waiting) >= MOST_WAITING:
                raise Busy
            self._waiting.append(booking)
            leads, self._is_busy = not self._is_busy, True
        if not leads:
            self._wait(booking)
            if booking not in self._waiting:
                return
        group: list[Booking] = []
        try:
            group = self._next_group()
            attempt(group)
        finally:
            self._hand_over(group)

    def _wait(self, booking: Booking) -> None:
        """Wait for the outcome, or for the turn to lead. Raises Busy while neither is in sight."""
        if booking.called.wait(WAIT_SECONDS):
            return
        with self._guard:
            if booking in self._waiting and not booking.called.is_set():
                self._waiting.remove(booking)
                raise Busy
        # It is being committed, and the database ends that one way or the other.
        booking.called.wait()

    def _next_group(self) -> list[Booking]:
        """Take those who wait, the leader first; a key is in a group only once."""
        group: list[Booking] = []
        keys = set()
        size = 0
        with self._guard:
            for booking in self._waiting:
                claim = booking.claim
                key = (claim.user_id, claim.key_digest) if claim else None
                size += len(booking.items)
                if group and (size > MOST_TRANSFERS or key in keys):
                    break
                if key:
                    keys.add(key)
                group.append(booking)
            del self._waiting[: len(group)]
        return group

    def _hand_over(self, group: Sequence[Booking]) -> None:
        with self._guard:
            for booking in group:
                booking.called.set()
            if self._waiting:
                self._waiting[0].called.set()
            else:
                self._is_busy = False


committer = Committer()


def attempt(group: Sequence[Booking]) -> None:
    """Book a group in one transaction; after a rollback all of it is undecided."""
    script = Script()
    try:
        with transaction.atomic():
            script.add(LIMIT_WAIT, f"{GROUP_LOCK_MILLISECONDS}ms")
            book_each(group, script)
    except BaseException as error:
        if not is_usual(error):
            # Perhaps nobody meets it again.
            logger.warning("A group of %d failed", len(group), exc_info=error)
        # Each request meets its own error when it is booked alone.
        forget(group)
        if script.has_committed and not was_rolled_back(error):
            for booking in group:
                booking.error = error
        if not isinstance(error, Exception):
            raise


def is_usual(error: BaseException) -> bool:
    """Return whether an error only says that the group met a lock or a key of another request."""
    return isinstance(error, Refusal) or (
        isinstance(error, OperationalError) and is_lock_timeout(error)
    )


def was_rolled_back(error: BaseException) -> bool:
    """Return whether an error of the commit is certain to have undone the transaction.

    A connection that is lost meanwhile leaves that open, and other code fails after the commit.
    """
    if isinstance(error, OperationalError):
        return is_retryable(error) or is_lock_timeout(error)
    return isinstance(error, DatabaseError)


def forget(group: Sequence[Booking]) -> None:
    for booking in group:
        booking.response, booking.refusal, booking.is_taken = None, None, False


def book_each(bookings: Sequence[Booking], script: Script) -> None:
    """Book what is not refused, at the end of the current transaction; set the outcome of each."""
    forget(bookings)
    origins = Origins(bookings, script)
    claims = Claims([each.claim for each in bookings if each.claim], script)
    transfers = {
        each: [Transfer(**item, created_by=each.user) for item in each.items] for each in bookings
    }
    # A key in flight is no refusal of the ledger.
    with claims.claimed(), metrics.measured("post"):
        posting = ledger.Posting([*chain(*transfers.values())], PostgreSQLStorage(script))
        for booking in bookings:
            _decide(booking, transfers[booking], origins, claims, posting)
        booked = [booking for booking in bookings if booking.response]
        if not booked:
            # It would commit nothing.
            transaction.set_rollback(True)
            return
        claims.close()
        for booking in booked:
            trail.booked(booking.user, transfers[booking])
        posting.write()


class Origins:
    """The accounts that users send from, looked up when the script runs."""

    def __init__(self, bookings: Sequence[Booking], script: Script) -> None:
        asked = {
            (booking.user.pk, item["origin_id"])
            for booking in bookings
            for item in booking.items
            if not booking.user.is_staff
        }
        self._found = script.add(OWN_ACCOUNTS, *columns([*asked], 2)) if asked else []

    @cached_property
    def _own(self) -> Mapping[int, set[int]]:
        own: defaultdict[int, set[int]] = defaultdict(set)
        for user, account in self._found:
            own[user].add(account)
        return own

    def require(self, booking: Booking) -> None:
        """Refuse the first transfer from an account that is not the user's or does not exist."""
        if not booking.user.is_staff:
            require_own_origins(booking.items, self._own[booking.user.pk])


def _decide(
    booking: Booking,
    transfers: list[Transfer],
    origins: Origins,
    claims: Claims,
    posting: ledger.Posting,
) -> None:
    if booking.claim and claims.is_taken(booking.claim):
        booking.is_taken = True
        return
    try:
        origins.require(booking)
        posting.book(transfers)
    except (ForeignOrigin, LedgerRefusal) as refusal:
        booking.refusal = refusal
        return
    booking.response = booking.respond(transfers)
    if booking.claim:
        claims.answer(booking.claim, booking.response)


@retried
def book_alone(booking: Booking) -> None:
    """Book it in a transaction of its own, unless it is refused."""
    book_each([booking], Script())
