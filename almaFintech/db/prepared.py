"""Statements that PostgreSQL parses and plans once for each connection.

Planning takes it longer than most of them take to run. They are prepared by SQL, since the
driver's own way needs a message for each statement, and a script is one message.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Prepared:
    """A statement with a %s for each value.

    Attributes:
        name: a name for the logs.
        sql: a SELECT, INSERT, UPDATE or DELETE.
        types: the SQL types of the values, unless PostgreSQL can tell them from the statement.
    """

    name: str
    sql: str
    types: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """The name in the database, where another release may have another statement."""
        digest = hashlib.sha256(f"{self.types}{self.sql}".encode()).hexdigest()
        return f"{self.name}_{digest[:12]}"

    @cached_property
    def definition(self) -> str:
        places = tuple(f"${number}" for number in range(1, self._number + 1))
        return f"PREPARE {self.key}{_list(self.types)} AS {self.sql % places}"

    @cached_property
    def call(self) -> str:
        """The statement to execute, with a %s for each value."""
        return f"EXECUTE {self.key}{_list(('%s',) * self._number)}"

    @property
    def _number(self) -> int:
        return self.sql.replace("%%", "").count("%s")


def _list(items: tuple[str, ...]) -> str:
    return f"({', '.join(items)})" if items else ""
