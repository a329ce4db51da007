"""Verification that the entries explain every balance and every transfer.

The ledger writes consistent rows; this package checks that they still are, whatever else has
written to the database since. Nothing is repaired. Every difference is a `Discrepancy`, whose
`check` is one of

    seq           the entries of an account count 1, 2, 3 ... without a gap
    kind          an account begins with an opening; after a closing there is nothing or an
                  opening, and an account without a row ends in a closing
    closing       that closing is signed as the account's last entry
    currency      from an opening to its closing the currency stays, and is the row's
    transfer      entries of transfers and cancellations name their transfer, others none
    counterparty  the same entries name the other account
    balance_after each running balance is the one before plus the amount, and never negative;
                  after a closing it is 0
    date          the dates of an account never go back
    future        no entry is dated later than now
    digest        each digest follows from the one before, by the key of the ledger
    balance       an account's balance is that of its last entry
    sum           an account's balance is the sum of its entries
    last_seq, last_date, seal
                  an account's row has the number, date and seal of its last entry
    opened        the register counts all accounts, including those closed since
    register      and that number is signed
    head          an entry whose digest was recorded elsewhere is still there
    entry         a transfer has one entry for each side, a cancelled one two, and no others
    entries       (of a transfer, where they are too many to name each)
    account, amount, by, reason, and again counterparty and currency
                  an entry agrees with its transfer
    booked, cancelled
                  its date, too, is that of its transfer: later only where an earlier entry of the
                  account was dated later, and by no more than clocks may differ; a transfer says
                  when and by whom it was cancelled if it was, and only then
    origin, destination
                  a transfer forgets no account that is still there, and its entries agree on those
                  that it has forgotten
    total, total_transfer, total_cancellation
                  the balances of each currency are the sum of its openings, adjustments and
                  closings; its transfers and cancellations sum to zero
    record, record_seq, trail, record_head
                  the records of staff are a chain of the same kind, see
                  `audit.verification`

Memory is bounded: entries, accounts and recorded heads are read side by side in the order of the
accounts, a page at a time, and the database compares the transfers with their entries.
"""

from collections.abc import Callable, Iterable, Iterator

from accounts.models import Transfer
from accounts.verification.accounts import AccountCheck
from accounts.verification.discrepancies import Discrepancy
from accounts.verification.heads import Head, RecordedHeads
from accounts.verification.totals import Totals, check_totals
from accounts.verification.transfers import check_transfers
from audit.verification import Verification as RecordsVerification


class Verification:
    """One pass over the ledger.

    recorded: heads to look for, in the order of the accounts, that of the records last.
    record_head: called with the present head of each chain, in that order.
    progress: called with a number of entries whenever that many have been read.

    Attributes, complete once `run` is exhausted:
        accounts, entries, transfers: how many there are.
        totals: for each currency the sums of the amounts by kind of entry, and of the balances
            as "balance", in micro units.
    """

    def __init__(
        self,
        recorded: Iterable[Head] = (),
        record_head: Callable[[Head], object] = lambda head: None,
        progress: Callable[[int], object] = lambda entries: None,
    ) -> None:
        self.recorded = RecordedHeads(recorded)
        self.record_head = record_head
        self.progress = progress
        self.accounts = self.entries = self.transfers = 0
        self.totals = Totals()

    def run(self) -> Iterator[Discrepancy]:
        """Yield every discrepancy. Run it within `snapshot` while others write."""
        accounts = AccountCheck(self.recorded, self.totals, self.record_head, self.progress)
        yield from accounts.run()
        self.accounts, self.entries = accounts.accounts, accounts.entries
        self.transfers = Transfer.objects.count()
        yield from check_transfers()
        yield from check_totals(self.totals)
        yield from self._check_records()

    def _check_records(self) -> Iterator[Discrepancy]:
        """Check the records of staff."""
        head = self.recorded.of_records
        records = RecordsVerification((head.seq, head.digest) if head else None)
        for check, expected, found, record in records.run():
            yield Discrepancy(check, expected, found, record=record)
        if records.seq:
            self.record_head(Head(None, records.seq, records.digest))
