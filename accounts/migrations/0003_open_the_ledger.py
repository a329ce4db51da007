"""Give the accounts and transfers of before the ledger the entries that explain them.

An account gets an opening, the two sides of its transfers by number, the cancellations, of which
the time is not known, dated now, and at the end the balance that it has. The opening is what that
needs, so that no balance on the way is negative; where staff had edited the balance away, an
adjustment says so.

Accounts that were deleted before have no number any more. One account for each currency, numbered
-1, -2 and so on, stands for them, opened and closed here, so that every transfer has both sides.
"""

from django.db import migrations
from django.db.models import Q
from django.utils import timezone

from accounts.chain import GENESIS, digest_of

BATCH = 2000
REASON = "Balance before the ledger"


class Chain:
    """Writes the entries of one account."""

    def __init__(self, model, account, currency, batch):
        self.model = model
        self.account = account
        self.currency = currency
        self.batch = batch
        self.seq = 0
        self.balance = 0
        self.date = None
        self.digest = GENESIS

    def enter(self, kind, amount, date, transfer=None, counterparty=None, reason=""):
        self.seq += 1
        self.balance += amount
        self.date = max(date, self.date or date)
        fields = {
            "seq": self.seq,
            "kind": kind,
            "counterparty": counterparty,
            "currency": self.currency,
            "amount": amount,
            "balance_after": self.balance,
            "date": self.date,
            "reason": reason,
        }
        self.digest = digest_of(
            self.digest, account=self.account, transfer=transfer, by=None, **fields
        )
        self.batch.append(
            self.model(
                account_id=self.account, transfer_id=transfer, digest=self.digest, **fields
            )
        )
        if len(self.batch) >= BATCH:
            self.model.objects.bulk_create(self.batch)
            self.batch.clear()


def movements(transfers, account, stand_ins, now):
    """Yield (date, kind, transfer, counterparty, amount), the cancellations last."""
    sides = ("origin_id", "destination_id")
    fields = ("pk", "date", *sides, "balance", "currency")
    for kind in ("transfer", "cancellation"):
        rows = transfers.order_by("pk")
        if kind == "cancellation":
            rows = rows.filter(cancelled=True)
        for pk, date, origin, destination, balance, currency in rows.values_list(
            *fields
        ).iterator(chunk_size=BATCH):
            ends = [origin or stand_ins[currency], destination or stand_ins[currency]]
            amounts = [-balance, balance] if kind == "transfer" else [balance, -balance]
            for end, other, amount in zip(ends, reversed(ends), amounts):
                if end == account:
                    yield date if kind == "transfer" else now, kind, pk, other, amount


def write(chain, moves, balance):
    """Write the entries of an account that is to end at `balance`; None for one that ends."""
    lowest = net = 0
    first = timezone.now()
    for index, (date, *_, amount) in enumerate(moves()):
        first = first if index else date
        net += amount
        lowest = min(lowest, net)
    chain.enter("opening", max(0 if balance is None else balance - net, -lowest), first)
    for date, kind, transfer, other, amount in moves():
        chain.enter(kind, amount, date, transfer, other)
    if balance is None:
        chain.enter("closing", -chain.balance, timezone.now(), reason=REASON)
    elif balance != chain.balance:
        chain.enter("adjustment", balance - chain.balance, timezone.now(), reason=REASON)


def open_the_ledger(apps, schema_editor):
    account_model = apps.get_model("accounts", "Account")
    transfer_model = apps.get_model("accounts", "Transfer")
    entry_model = apps.get_model("accounts", "Entry")
    now = timezone.now()
    headless = Q(origin=None) | Q(destination=None)
    currencies = transfer_model.objects.filter(headless).order_by("currency")
    stand_ins = {
        currency: -number
        for number, currency in enumerate(
            currencies.values_list("currency", flat=True).distinct(), start=1
        )
    }
    batch = []

    for account in account_model.objects.order_by("pk").iterator(chunk_size=BATCH):
        own = transfer_model.objects.filter(Q(origin=account.pk) | Q(destination=account.pk))
        chain = Chain(entry_model, account.pk, account.currency, batch)
        write(chain, lambda: movements(own, account.pk, stand_ins, now), account.balance)
        account_model.objects.filter(pk=account.pk).update(
            last_seq=chain.seq, last_date=chain.date, last_digest=chain.digest
        )
    for currency, number in stand_ins.items():
        gone = transfer_model.objects.filter(headless, currency=currency)
        chain = Chain(entry_model, number, currency, batch)
        write(chain, lambda: movements(gone, number, stand_ins, now), None)
    entry_model.objects.bulk_create(batch)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_ledger")]
    operations = [migrations.RunPython(open_the_ledger, migrations.RunPython.noop)]
