"""Count of the messages that a connection sends to PostgreSQL."""

import tempfile
from collections.abc import Callable

from django.db.backends.base.base import BaseDatabaseWrapper


def messages_to(wrapper: BaseDatabaseWrapper, work: Callable[[], object]) -> list[str]:
    """Return the kinds of messages that `work` sends over a connection.

    Each "Query" is a round trip. Statements that the driver or the backend sends are among them.
    """
    with tempfile.TemporaryFile("w+") as trace:
        wrapper.connection.pgconn.trace(trace.fileno())
        work()
        wrapper.connection.pgconn.untrace()
        trace.seek(0)
        sent = [line.split("\t") for line in trace if "\tF\t" in line]
    return [message[3] for message in sent]
