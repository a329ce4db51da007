"""The rules of the money: valid amounts, and the conditions of a movement.

Pure Python, without a database. Amounts and balances are micro units, whole numbers from 0 to
MAX_MICRO_UNITS.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from django.db.models import TextChoices
from rest_framework import status

from almaFintech.refusals import RETRY_AFTER_SECONDS, Refusal

# The largest number of the column and of the JSON numbers that clients send.
MAX_MICRO_UNITS = 2**63 - 1


class LedgerRefusal(Refusal):
    """A refused movement; nothing has moved.

    `index` is the position, from 0, of the refused one among several objects.
    """


class CurrencyMismatch(LedgerRefusal):
    default_code = "currency_mismatch"
    default_detail = "Origin currency must match destination currency"


class InsufficientFunds(LedgerRefusal):
    default_code = "insufficient_funds"
    default_detail = "Origin account has insufficient funds"


class AlreadyCancelled(LedgerRefusal):
    default_code = "already_cancelled"
    default_detail = "Transfer already cancelled"


class AccountMissing(LedgerRefusal):
    default_code = "account_missing"
    default_detail = "Origin account does not exist"


class TransferMissing(LedgerRefusal):
    default_code = "transfer_missing"
    default_detail = "Transfer does not exist"


class SameAccount(LedgerRefusal):
    default_code = "same_account"
    default_detail = "Origin and destination must be different accounts"


class InvalidAmount(LedgerRefusal):
    default_code = "invalid_amount"
    default_detail = f"Balance must be a whole number from 1 to {MAX_MICRO_UNITS}"


class BalanceOverflow(LedgerRefusal):
    default_code = "balance_overflow"
    default_detail = "Destination account cannot hold that much"


class BalanceChanged(LedgerRefusal):
    """An edit would overwrite a balance that has changed since it was read."""

    default_code = "balance_changed"
    default_detail = "The balance has changed since it was read: read it again"
    status_code = status.HTTP_409_CONFLICT


class CurrencyFixed(LedgerRefusal):
    default_code = "currency_fixed"
    default_detail = "The currency cannot change once the account has transfers"


class AccountAhead(LedgerRefusal):
    """The account's last entry is dated later than the database's clock says it is now.

    Entries keep their order, so each further one would be dated as far ahead. Two clocks always
    differ a little; a large difference means that a clock was wrong for a moment.
    """

    default_code = "account_ahead"
    default_detail = "The last entry of the account is dated in the future"
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    wait = RETRY_AFTER_SECONDS


class Kind(TextChoices):
    """The kinds of change of a balance."""

    OPENING = "opening"
    TRANSFER = "transfer"
    CANCELLATION = "cancellation"
    ADJUSTMENT = "adjustment"
    CLOSING = "closing"


class Holder(Protocol):
    """An account, as far as the rules know it."""

    currency: str
    balance: int


@contextmanager
def numbered(index: int) -> Iterator[None]:
    """Give a refusal of one of several objects its `index`."""
    try:
        yield
    except LedgerRefusal as refusal:
        raise type(refusal)(refusal.detail, index=index) from refusal


def require_amount(amount: object, *, minimum: int) -> None:
    """Raise InvalidAmount unless `amount` is a whole number from `minimum` to MAX_MICRO_UNITS."""
    # bool is an int to Python, and an F() expression or a float would reach the database.
    if type(amount) is not int or not minimum <= amount <= MAX_MICRO_UNITS:
        raise InvalidAmount(f"Balance must be a whole number from {minimum} to {MAX_MICRO_UNITS}")


def move(
    amount: int,
    accounts: Mapping[int | None, Holder],
    payer: int | None,
    receiver: int | None,
    *,
    back: bool = False,
) -> None:
    """Move `amount` between two of `accounts`, or raise a refusal and move nothing.

    payer, receiver: ids; None stands for an account that was closed.
    back: a cancellation, in which the destination pays and the origin receives.
    """
    paying, receiving = ("Destination", "Origin") if back else ("Origin", "Destination")
    if payer is not None and payer == receiver:
        raise SameAccount
    if payer not in accounts:
        raise AccountMissing(f"{paying} account does not exist")
    # Checked before the receiver: an amount that the payer does not have must not reveal whether
    # another account exists, or in which currency.
    if accounts[payer].balance < amount:
        raise InsufficientFunds(f"{paying} account has insufficient funds")
    if receiver not in accounts:
        raise AccountMissing(f"{receiving} account does not exist")
    if accounts[payer].currency != accounts[receiver].currency:
        raise CurrencyMismatch
    if accounts[receiver].balance + amount > MAX_MICRO_UNITS:
        raise BalanceOverflow(f"{receiving} account cannot hold that much")
    accounts[payer].balance -= amount
    accounts[receiver].balance += amount
