"""Heads of chains, recorded in a file to be compared with the ledger later.

A digest vouches for all rows of its chain up to its own, so a head recorded where nobody can
change it reveals even a change by an attacker who has the key of the ledger.
"""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Head(NamedTuple):
    """The last row of a chain: its number and its digest.

    `account` names the chain; None is the chain of the records of staff.
    """

    account: int | None
    seq: int
    digest: bytes

    def __str__(self) -> str:
        chain = "records" if self.account is None else self.account
        return f"{chain} {self.seq} {self.digest.hex()}"


def read_heads(path: Path) -> Iterator[Head]:
    """Yield the heads in a file, which has a line `account seq digest` for each, by account.

    A last line `records seq digest` is the head of the records of staff. Raises ValueError, which
    names the line, when the file is malformed.
    """
    last = -math.inf
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            match = re.fullmatch(r"(-?[0-9]{1,19}|records) ([0-9]{1,19}) ([0-9a-f]{64})\n", line)
            if match is None:
                raise ValueError(f"line {number} is not an account, a seq and a digest")
            account = None if match[1] == "records" else int(match[1])
            # Nothing comes after the records.
            position = math.inf if account is None else account
            if position <= last:
                raise ValueError(f"line {number} is not in the order of the accounts")
            last = position
            yield Head(account, int(match[2]), bytes.fromhex(match[3]))


class RecordedHeads:
    """Heads recorded earlier, in the order of the accounts, that of the records of staff last.

    Attributes:
        of_records: the head of the records, known once `of_accounts` is exhausted.
    """

    def __init__(self, heads: Iterable[Head]) -> None:
        self._heads = heads
        self.of_records: Head | None = None

    def of_accounts(self) -> Iterator[tuple[int, Head]]:
        """Yield the number and the head of each account."""
        for head in self._heads:
            if head.account is None:
                self.of_records = head
            else:
                yield head.account, head
