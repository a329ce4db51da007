"""Crash test: `python -m crashtest.bank [--seconds N] [--kills N] [--clients N] [--seed N]`.

The production server runs on a PostgreSQL with its default durability. Clients send transfers,
batches and cancellations, and repeat unanswered requests with the same Idempotency-Key, while
workers, the server, backends of the database and the database itself are killed with SIGKILL at
random moments and restarted. At the end everything is killed once more, and then the database must
agree with the responses that the clients got, to the last micro unit.

Killing a process is not a power cut, because the kernel keeps the data that the process wrote.
This test relies on PostgreSQL and the disk to make fsync durable.
"""

import argparse
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crashtest.books import Books, discrepancies
from crashtest.clients import PATIENCE_SECONDS, Caller, Client, GaveUp, Memory
from crashtest.servers import Database, WebServer

BOSS = "boss"
OPENING = 1_000_000
ACCOUNTS_EACH = 2
REPLAYS_EACH = 200
SHOWN = 10
SECONDS_BETWEEN_LINES = 5
# The latest end of a run, however badly it goes, after the requested time.
SPARE_SECONDS = 900


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="crashtest.bank", description="Kill the bank at work.")
    parser.add_argument("--seconds", type=int, default=60, help="duration of the clients' work")
    parser.add_argument("--kills", type=int, default=20, help="number of kills in that time")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2, help="processes of the server")
    parser.add_argument("--threads", type=int, default=4, help="threads of each of them")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the server, such as GROUP_COMMIT=false; may be repeated",
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="repeat the choices of an earlier run"
    )
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = secrets.randbelow(10**6)

    def end(number: int, frame: object) -> None:
        sys.exit(f"ended by signal {number}")

    # Every signal ends the `with` block below, so that no process stays behind.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, end)
    signal.alarm(options.seconds + SPARE_SECONDS)
    say(f"seed {options.seed}, {options.clients} clients, {options.kills} kills")
    with (
        tempfile.TemporaryDirectory(prefix="almafintech-", ignore_cleanup_errors=True) as folder,
        Database(Path(folder)) as database,
        WebServer(Path(folder), database, options.port, options.workers, options.threads) as server,
    ):
        server.settings |= dict(setting.split("=", 1) for setting in options.setting)
        return Bank(database, server, options).run()


class Bank:
    """One run: the two servers, the clients, and the responses that they got."""

    def __init__(self, database: Database, server: WebServer, options: argparse.Namespace) -> None:
        self.database = database
        self.server = server
        self.options = options
        self.rng = random.Random(options.seed)
        self.memory = Memory()
        self.kills: Counter[str] = Counter()
        self.next_line = float(SECONDS_BETWEEN_LINES)
        self.openings: dict[int, int] = {}
        self.boss = Caller(server.address, self.memory, BOSS)
        self.clients = [
            Client(server.address, self.memory, f"client{number}", options.seed)
            for number in range(options.clients)
        ]

    def run(self) -> int:
        """Return the exit status: 0 if every promise was kept."""
        self.open()
        start = time.monotonic()
        self.send_and_kill()
        seconds = time.monotonic() - start
        say("killing everything once more, and repeating requests")
        self.server.kill()
        self.database.kill()
        self.begin()
        self.ask_again()
        self.server.stop()
        violations = [*self.memory.violations, *self.verify()]
        self.report(seconds, violations)
        return 1 if violations else 0

    def begin(self) -> None:
        """Start both servers, and wait for them."""
        self.database.start()
        self.database.wait_until_ready()
        self.server.start()
        self.server.wait_until_ready()

    def open(self) -> None:
        """Create the tables, the users and their accounts."""
        self.database.start()
        self.database.wait_until_ready()
        password = secrets.token_urlsafe()
        for command in (
            ["migrate", "--verbosity", "0"],
            ["createsuperuser", "--noinput", "--username", BOSS, "--email", "boss@example.com"],
        ):
            self.server.manage(*command, DJANGO_SUPERUSER_PASSWORD=password).check_returncode()
        self.server.start()
        self.server.wait_until_ready()
        self.boss.login(password)
        owners: dict[int, Client] = {}
        for client in self.clients:
            person = {"username": client.name, "password": password}
            user = self.boss.call("POST", "/api/users/", person).json()["id"]
            for _ in range(ACCOUNTS_EACH):
                opening = {"currency": "USD", "balance": OPENING}
                account = self.boss.call("POST", "/api/accounts/", opening).json()["id"]
                path = f"/api/profiles/{user}/add_account/"
                self.boss.call("POST", path, {"account_id": account})
                client.accounts.append(account)
                owners[account] = client
            client.login(password)
        self.openings = dict.fromkeys(owners, OPENING)
        for client in self.clients:
            client.owners = owners
            client.boss = self.boss
            client.total = sum(self.openings.values())
        # The preparation is not part of the test.
        self.memory.counts.clear()

    def send_and_kill(self) -> None:
        """Kill processes while the clients work, and then let the clients finish."""
        stop = threading.Event()
        threads = [
            threading.Thread(target=client.work, args=[stop], daemon=True)
            for client in self.clients
        ]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            seconds = self.options.seconds
            moments = sorted(self.rng.uniform(0, seconds) for _ in range(self.options.kills))
            for moment in [*moments, seconds]:
                self.watch(start, moment)
                if moment < seconds:
                    self.kill()
            self.database.wait_until_ready()
            self.server.wait_until_ready()
        finally:
            stop.set()
        for thread in threads:
            thread.join(timeout=PATIENCE_SECONDS * 2)
            if thread.is_alive():
                self.memory.violations.append("a client does not finish")

    def watch(self, start: float, moment: float) -> None:
        """Wait until `moment`, and print the progress now and then."""
        while (left := start + moment - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            # In production, systemd or the container runtime does this.
            self.database.revive()
            self.server.revive()
            now = time.monotonic() - start
            if now >= self.next_line:
                self.next_line = now + SECONDS_BETWEEN_LINES
                done = self.memory.counts
                say(
                    f"{now:4.0f} s: {done['transfers acknowledged']} transfers, "
                    f"{done['cancels']} cancels, {done['retries']} retries, "
                    f"{self.kills.total()} kills, {len(self.memory.violations)} violations"
                )

    def kill(self) -> None:
        """Kill something, and restart it unless it restarts by itself."""
        [kind] = self.rng.choices(
            ["worker", "server", "backend", "database", "both"], [30, 20, 10, 30, 10]
        )
        if kind == "worker":
            self.kills[kind] += self.server.kill_child(self.rng)
            return
        if kind == "backend":
            # PostgreSQL then ends all its other backends, and recovers as after a crash.
            self.kills[kind] += self.database.kill_child(self.rng)
            return
        for service in (self.database, self.server):
            if kind in (service.name, "both"):
                service.kill()
                self.kills[service.name] += 1
        time.sleep(self.rng.choice([0, self.rng.random()]))
        for service in (self.database, self.server):
            if service.process is None:
                service.start()

    def ask_again(self) -> None:
        """Repeat answered requests; each key must get the same response again."""
        for client in self.clients:
            some = client.rng.sample(client.booked, min(REPLAYS_EACH, len(client.booked)))
            for operation in some:
                try:
                    client.replay(operation)
                except GaveUp:
                    # It is counted. Waiting as long for the others would prove nothing more.
                    return

    def verify(self) -> Iterator[str]:
        """Yield all violations, once nothing moves any more."""
        if self.memory.counts["given up"]:
            yield f"{self.memory.counts['given up']} requests were never answered"
        if not self.memory.counts["transfers acknowledged"]:
            yield "no transfer was acknowledged at all, which proves nothing"
        for service in (self.database, self.server):
            if service.deaths:
                yield f"{service.name} ended by itself:\n{service.last_words()}"
        with self.database.connect() as connection:
            yield from discrepancies(self.memory, Books.read(connection), self.openings)
        verified = self.server.manage("verify_ledger")
        if verified.returncode:
            yield f"verify_ledger says:\n{verified.stdout}{verified.stderr}"

    def report(self, seconds: float, violations: list[str]) -> None:
        done = self.memory.counts
        waited = self.memory.waited / (seconds * len(self.clients))
        kinds = ", ".join(f"{number} of {kind}" for kind, number in sorted(self.kills.items()))
        answers = ", ".join(
            f"{number} {name}" for name, number in sorted(done.items()) if name.startswith("HTTP")
        )
        say(
            f"""
{seconds:.0f} seconds, {self.kills.total()} kills: {kinds}
acknowledged: {done["transfers acknowledged"]} transfers by {done["single transfers"]} requests \
and {done["batches"]} batches, {done["cancels"]} cancels
refused: {done["refused"]} for lack of funds; keys reused for something else: {done["keys reused"]}
retries: {done["retries"]}, after {done["hang-ups"]} hang-ups and for all that was killed; \
booked although the first response was lost: {done["answers lost"]}
deliberate replays: {done["replays"]}; audits: {done["audits"]}
responses: {answers}
clients waited {waited:.0%} of their time for restarts, and at most \
{self.memory.longest_wait:.0f} seconds"""
        )
        # The first ones show the beginning, the last ones the end.
        for violation in violations[:SHOWN] + violations[SHOWN:][-SHOWN:]:
            say(f"VIOLATION: {violation}")
        say(
            f"{len(violations)} violations (seed {self.options.seed})" if violations else "all kept"
        )


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
