"""Random sequences of every operation, compared after each step with a wallet in plain Python."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Account, Entry, Transfer
from accounts.rules import LedgerRefusal
from accounts.verification import Verification
from conftest import Person

MAX = 2**63 - 1
# A verification costs as much as several steps, so it runs now and then and at the end.
STEPS_PER_PROOF = 10
AMOUNTS = st.integers(0, 12) | st.sampled_from([MAX, MAX - 5, 2**62])
CURRENCIES = st.sampled_from(["USD", "EUR"])


class Wallet:
    """The model: balances by account, and transfers as [origin, destination, amount, open].

    Adjustments are (account, amount, by, reason).
    """

    def __init__(self):
        self.money: dict[int, list[Any]] = {}
        self.transfers: dict[int, list[Any]] = {}
        self.adjustments: list[tuple[int, int, int | None, str]] = []

    def move(self, origin, destination, amount):
        """Move the amount if that is allowed; return whether it was."""
        paying, receiving = self.money.get(origin), self.money.get(destination)
        if amount < 1 or origin == destination or paying is None or receiving is None:
            return False
        if paying[0] != receiving[0] or paying[1] < amount or receiving[1] + amount > MAX:
            return False
        paying[1] -= amount
        receiving[1] += amount
        return True

    def move_all(self, items):
        """Move all or none; return the index of the first that is not allowed, or None."""
        before = {account: list(money) for account, money in self.money.items()}
        for index, item in enumerate(items):
            if not self.move(*item):
                self.money = before
                return index
        return None


class WalletMachine(RuleBasedStateMachine):
    accounts = Bundle("accounts")
    transfers = Bundle("transfers")

    def __init__(self):
        super().__init__()
        self.wallet = Wallet()
        self.steps = 0
        self.database = transaction.atomic()
        self.database.__enter__()
        self.boss = User.objects.create(username="boss", is_staff=True)
        # The transfers sent with each key, and the response.
        self.replayed = {}

    def teardown(self):
        try:
            # After a failed step, the transaction may be unusable.
            if not connection.needs_rollback:
                self.verify()
        finally:
            transaction.set_rollback(True)
            self.database.__exit__(None, None, None)

    def verify(self):
        assert list(Verification().run()) == []
        self.adjustments_agree()

    def adjustments_agree(self):
        rows = Entry.objects.filter(kind=Entry.Kind.ADJUSTMENT).order_by("pk")
        model = self.wallet.adjustments
        assert list(rows.values_list("account", "amount", "by", "reason")) == model

    def attempt(self, work, *args):
        """Run `work`; return whether the ledger allowed it."""
        try:
            with transaction.atomic():
                work(*args)
        except LedgerRefusal:
            return False
        return True

    @initialize(target=accounts)
    def first_accounts(self):
        return multiple(*[self.open("USD", 10) for _ in range(3)])

    @rule(target=accounts, currency=CURRENCIES, balance=AMOUNTS)
    def open(self, currency, balance):
        account = Account.objects.create(currency=currency, balance=balance)
        self.wallet.money[account.pk] = [currency, balance]
        return account.pk

    @rule(target=transfers, origin=accounts, destination=accounts, amount=AMOUNTS)
    def send(self, origin, destination, amount):
        transfer = Transfer(origin_id=origin, destination_id=destination, balance=amount)
        moved = self.wallet.move(origin, destination, amount)
        assert self.attempt(transfer.save) is moved
        if not moved:
            return multiple()
        self.wallet.transfers[transfer.pk] = [origin, destination, amount, True]
        return transfer.pk

    @rule(
        target=transfers,
        items=st.lists(st.tuples(accounts, accounts, AMOUNTS), min_size=1, max_size=4),
    )
    def send_many(self, items):
        refused = self.wallet.move_all(items)
        transfers = self.unsaved(items)
        assert self.attempt(Transfer.objects.bulk_create, transfers) is (refused is None)
        return multiple(*(self.book(transfers, items) if refused is None else []))

    @rule(
        target=transfers,
        key=st.sampled_from("abc"),
        items=st.lists(st.tuples(accounts, accounts, AMOUNTS), min_size=1, max_size=3),
    )
    def send_with_a_key(self, key, items):
        """Send over HTTP, alone or as a batch; a used key only repeats its own request."""
        sent, first = self.replayed.get(key, (None, None))
        known = ("origin", "destination", "balance")
        bodies = [dict(zip(known, item, strict=True)) for item in items]
        path, body = "/api/transfers/batch/", {"transfers": bodies}
        if len(bodies) == 1:
            path, [body] = "/api/transfers/", bodies

        response = Person(self.boss).post(path, body, idempotency_key=key)

        if first is not None:
            replayed = (201, first.content) if items == sent else (422, response.content)
            assert (response.status_code, response.content) == replayed
            return multiple()
        if self.wallet.move_all(items) is not None:
            assert response.status_code == 400
            return multiple()
        assert response.status_code == 201
        self.replayed[key] = items, response
        booked = response.json()
        rows = booked if len(items) > 1 else [booked]
        return multiple(*self.book([Transfer(pk=row["id"]) for row in rows], items))

    @rule(target=transfers, key=st.sampled_from("abc"))
    def send_again(self, key):
        """Send a request again with its key: the response is the same, and nothing moves."""
        if key in self.replayed:
            self.send_with_a_key(key, self.replayed[key][0])
        return multiple()

    def unsaved(self, items):
        return [
            Transfer(origin_id=origin, destination_id=destination, balance=amount)
            for origin, destination, amount in items
        ]

    def book(self, transfers, items):
        """Add booked transfers to the model; return their ids."""
        for transfer, item in zip(transfers, items, strict=True):
            self.wallet.transfers[transfer.pk] = [*item, True]
        return [transfer.pk for transfer in transfers]

    @rule(transfer=transfers)
    def cancel(self, transfer):
        row = self.wallet.transfers[transfer]
        origin, destination, amount, is_open = row
        allowed = is_open and self.wallet.move(destination, origin, amount)
        assert self.attempt(Transfer.objects.get(pk=transfer).delete) is allowed
        row[3] = is_open and not allowed

    @rule(chosen=st.lists(transfers, unique=True, max_size=4))
    def cancel_many(self, chosen):
        """Cancel by a queryset, newest first: all or none."""
        newest_first = sorted(chosen, reverse=True)
        rows = [self.wallet.transfers[transfer] for transfer in newest_first]
        returns = [(destination, origin, amount) for origin, destination, amount, _ in rows]
        allowed = all(row[3] for row in rows) and self.wallet.move_all(returns) is None
        queryset = Transfer.objects.filter(pk__in=chosen).order_by("-id")
        assert self.attempt(queryset.delete) is allowed
        for row in rows:
            row[3] = row[3] and not allowed

    @rule(
        account=accounts,
        balance=AMOUNTS,
        by_boss=st.booleans(),
        reason=st.sampled_from(["", "a mistake", "Prämie für März", '"; \\ \n']),
    )
    def adjust(self, account, balance, by_boss, reason):
        if account in self.wallet.money:
            row = Account.objects.get(pk=account)
            row.balance = balance
            row.save(by=self.boss if by_boss else None, reason=reason)
            money = self.wallet.money[account]
            if balance != money[1]:
                by = self.boss.pk if by_boss else None
                self.wallet.adjustments.append((account, balance - money[1], by, reason))
            money[1] = balance

    @rule(account=accounts, currency=CURRENCIES)
    def change_currency(self, account, currency):
        if account in self.wallet.money:
            used = any(account in row[:2] for row in self.wallet.transfers.values())
            allowed = not used or currency == self.wallet.money[account][0]
            row = Account.objects.get(pk=account)
            row.currency = currency
            assert self.attempt(row.save) is allowed
            if allowed:
                self.wallet.money[account][0] = currency

    @rule(account=accounts)
    def close(self, account):
        Account.objects.filter(pk=account).delete()
        self.wallet.money.pop(account, None)

    @invariant()
    def balances_agree(self):
        rows = Account.objects.values_list("pk", "currency", "balance")
        assert {pk: [currency, balance] for pk, currency, balance in rows} == self.wallet.money

    @invariant()
    def transfers_agree(self):
        rows = Transfer.objects.values_list("pk", "balance", "cancelled")
        model = {pk: (row[2], not row[3]) for pk, row in self.wallet.transfers.items()}
        assert {pk: (balance, cancelled) for pk, balance, cancelled in rows} == model

    @invariant()
    def the_ledger_verifies(self):
        self.steps += 1
        if self.steps % STEPS_PER_PROOF == 0:
            self.verify()


@pytest.mark.server
@pytest.mark.django_db
def test_the_server_agrees_with_a_wallet_in_plain_python():
    run_state_machine_as_test(
        WalletMachine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
