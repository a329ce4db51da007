"""The rules of the money, without a database."""

from dataclasses import dataclass
from typing import Any

import pytest

from accounts import rules
from accounts.rules import MAX_MICRO_UNITS, LedgerRefusal, move, numbered, require_amount

PAYER, RECEIVER, EURO, ABSENT = 1, 2, 3, 9


@dataclass
class Holder:
    balance: int
    currency: str = "USD"


def holders(paying: int = 100, receiving: int = 5) -> dict[int | None, Any]:
    return {PAYER: Holder(paying), RECEIVER: Holder(receiving), EURO: Holder(0, "EUR")}


def balances(accounts: dict[int | None, Any]) -> list[int]:
    return [account.balance for account in accounts.values()]


def test_a_movement_keeps_the_sum() -> None:
    accounts = holders()

    move(30, accounts, PAYER, RECEIVER)

    assert balances(accounts) == [70, 35, 0]


def test_a_whole_balance_can_move_up_to_the_column_maximum() -> None:
    accounts = holders(paying=MAX_MICRO_UNITS - 5)

    move(MAX_MICRO_UNITS - 5, accounts, PAYER, RECEIVER)

    assert balances(accounts) == [0, MAX_MICRO_UNITS, 0]


@pytest.mark.parametrize(
    ("refusal", "amount", "payer", "receiver", "message"),
    [
        (rules.SameAccount, 1, PAYER, PAYER, "must be different accounts"),
        (rules.SameAccount, 1, ABSENT, ABSENT, "must be different accounts"),
        (rules.AccountMissing, 1, ABSENT, RECEIVER, "{payer} account does not exist"),
        (rules.AccountMissing, 1, None, RECEIVER, "{payer} account does not exist"),
        (rules.AccountMissing, 1, None, None, "{payer} account does not exist"),
        (rules.AccountMissing, 1, ABSENT, None, "{payer} account does not exist"),
        (rules.AccountMissing, 1, PAYER, ABSENT, "{receiver} account does not exist"),
        (rules.AccountMissing, 1, PAYER, None, "{receiver} account does not exist"),
        (rules.InsufficientFunds, 101, PAYER, RECEIVER, "{payer} account has insufficient funds"),
        # The receiver is not checked if the payer cannot pay.
        (rules.InsufficientFunds, 101, PAYER, ABSENT, "{payer} account has insufficient funds"),
        (rules.InsufficientFunds, 101, PAYER, EURO, "{payer} account has insufficient funds"),
        (rules.CurrencyMismatch, 100, PAYER, EURO, "currency must match"),
        (rules.BalanceOverflow, 100, PAYER, RECEIVER, "{receiver} account cannot hold that much"),
    ],
)
@pytest.mark.parametrize(
    ("back", "roles"),
    [
        (False, {"payer": "Origin", "receiver": "Destination"}),
        (True, {"payer": "Destination", "receiver": "Origin"}),
    ],
)
def test_a_refused_movement_moves_nothing(
    refusal: type[LedgerRefusal],
    amount: int,
    payer: int | None,
    receiver: int | None,
    message: str,
    back: bool,
    roles: dict[str, str],
) -> None:
    accounts = holders(receiving=MAX_MICRO_UNITS - 99)
    before = balances(accounts)

    with pytest.raises(refusal) as caught:
        move(amount, accounts, payer, receiver, back=back)

    assert message.format(**roles) in caught.value.detail
    assert balances(accounts) == before


@pytest.mark.parametrize("minimum", [0, 1])
def test_an_amount_is_within_its_bounds(minimum: int) -> None:
    require_amount(minimum, minimum=minimum)
    require_amount(MAX_MICRO_UNITS, minimum=minimum)

    for amount in minimum - 1, MAX_MICRO_UNITS + 1, 1.0, "1", True, None, -1:
        with pytest.raises(rules.InvalidAmount, match=f"a whole number from {minimum} to"):
            require_amount(amount, minimum=minimum)


def test_a_refusal_of_one_of_several_has_its_index() -> None:
    with pytest.raises(rules.AccountMissing) as caught, numbered(3):
        raise rules.AccountMissing("Destination account does not exist")

    refusal = caught.value
    assert (refusal.index, refusal.detail) == (3, "Destination account does not exist")
    assert isinstance(refusal.__cause__, rules.AccountMissing)
    with pytest.raises(ValueError, match="no refusal"), numbered(3):
        raise ValueError("no refusal")


def test_each_refusal_has_a_code_of_its_own() -> None:
    refusals = LedgerRefusal.__subclasses__()

    assert len({refusal.default_code for refusal in refusals}) == len(refusals)
    for refusal in refusals:
        assert (refusal().detail, refusal().index) == (refusal.default_detail, 0)
    assert rules.BalanceChanged.status_code == 409
    assert (rules.AccountAhead.status_code, rules.AccountAhead.wait) == (503, 5)
