"""Clients that retry a request with its key until they get a response, and remember it."""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

TRANSFERS = "/api/transfers/"
BATCHES = "/api/transfers/batch/"

# A response that takes longer counts as missing: the server's own waits end after some 10 seconds.
ANSWER_SECONDS = 60
# The time for which a client retries a request before it gives up.
PATIENCE_SECONDS = 120
# The share of requests after which the client closes its connection.
HANG_UPS = 0.03
# More money than exists, so a batch with this amount must be refused.
IMPOSSIBLE = 10**15


class Outcome(Enum):
    """The outcome of an operation, as far as a client knows it."""

    UNKNOWN = "unknown"
    BOOKED = "booked"
    REFUSED = "refused"


@dataclass
class Answer:
    """One HTTP response, and the number of unanswered attempts before it.

    abandoned: True if one of these attempts may still be running.
    """

    status: int
    body: bytes
    replayed: bool = False
    retries: int = 0
    abandoned: bool = False

    def json(self) -> Any:
        return json.loads(self.body or b"null")

    @property
    def code(self) -> object:
        data = self.json()
        return data.get("code") if isinstance(data, dict) else None

    @property
    def is_refusal(self) -> bool:
        """True for insufficient funds, which is not an error of the server."""
        return (self.status, self.code) == (400, "insufficient_funds")

    def __str__(self) -> str:
        return f"{self.status} {self.body[:200]!r}"


@dataclass
class Operation:
    """A transfer or a batch with its key, as the client remembers it."""

    user: str
    key: str
    path: str
    body: dict[str, Any]
    outcome: Outcome = Outcome.UNKNOWN
    answer: Answer | None = None

    @property
    def items(self) -> list[dict[str, Any]]:
        """The bodies of the transfers."""
        items: list[dict[str, Any]] = self.body.get("transfers", [self.body])
        return items

    def booked(self) -> list[dict[str, Any]]:
        """The transfers in the response."""
        data = self.answer.json() if self.answer else []
        return data if isinstance(data, list) else [data]


class GaveUp(Exception):
    """A client got no response within PATIENCE_SECONDS."""


@dataclass
class Memory:
    """The shared knowledge of all clients; the lists only grow."""

    operations: list[Operation] = field(default_factory=list)
    # The outcome of each cancellation, by the id of the transfer.
    cancels: dict[int, Outcome] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    # Seconds between an unanswered request and the response to its retry.
    waited: float = 0.0
    longest_wait: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, number: int = 1) -> None:
        with self.lock:
            self.counts[what] += number

    def wait(self, seconds: float) -> None:
        with self.lock:
            self.waited += seconds
            self.longest_wait = max(self.longest_wait, seconds)


class Caller:
    """An HTTP client of one user, which retries unanswered requests."""

    def __init__(self, address: tuple[str, int], memory: Memory, name: str) -> None:
        self.address = address
        self.memory = memory
        self.name = name
        self.headers = {"Content-Type": "application/json", "Connection": "close"}

    def login(self, password: str) -> None:
        answer = self.call("POST", "/api/login/", {"username": self.name, "password": password})
        self.headers["Authorization"] = f"Bearer {answer.json()['access']}"

    def call(self, method: str, path: str, body: object = None, key: str | None = None) -> Answer:
        """Send a request until the response is other than "try again". Raises GaveUp."""
        abandoned = False
        failed: float | None = None
        try:
            for retries in itertools.count():
                hang_up = self.hangs_up()
                answer = self.attempt(method, path, body, key, hang_up=hang_up)
                if answer is not None:
                    answer.retries = retries
                    answer.abandoned = abandoned
                    return answer
                abandoned |= hang_up
                failed = failed or time.monotonic()
                if time.monotonic() - failed > PATIENCE_SECONDS:
                    break
                self.memory.count("retries")
                time.sleep(random.uniform(0.02, 0.3))
        finally:
            if failed:
                self.memory.wait(time.monotonic() - failed)
        self.memory.count("given up")
        raise GaveUp

    def hangs_up(self) -> bool:
        """Return whether to send the next request without waiting for its response."""
        return False

    def attempt(
        self, method: str, path: str, body: object, key: str | None, *, hang_up: bool
    ) -> Answer | None:
        """Send a request once; return None if it has to be repeated, carried out or not."""
        headers = self.headers if key is None else {**self.headers, "Idempotency-Key": key}
        connection = http.client.HTTPConnection(*self.address, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            if hang_up:
                self.memory.count("hang-ups")
                time.sleep(random.uniform(0, 0.05))
                return None
            response = connection.getresponse()
            answer = Answer(
                response.status,
                response.read(),
                response.headers.get("Idempotent-Replayed") == "true",
            )
        except TimeoutError:
            self.violation(f"{method} {path} has no response after {ANSWER_SECONDS} seconds")
            return None
        except (OSError, http.client.HTTPException):
            # The connection failed, perhaps while it waited for the response.
            return None
        finally:
            connection.close()
        self.memory.count(f"HTTP {answer.status}")
        if answer.status >= 500 and answer.status != 503:
            self.violation(f"{method} {path} returned {answer}")
            return None
        if answer.status == 503 or answer.code == "idempotency_key_in_flight":
            return None
        return answer

    def violation(self, text: str) -> None:
        self.memory.violations.append(f"{self.name}: {text}")


class Client(Caller):
    """A client of a user with accounts, which sends, cancels, and repeats answered requests."""

    def __init__(self, address: tuple[str, int], memory: Memory, name: str, seed: object) -> None:
        super().__init__(address, memory, name)
        self.rng = random.Random(f"{seed} {name}")
        self.accounts: list[int] = []
        # The client that owns each account, set once all accounts are open.
        self.owners: dict[int, Client] = {}
        self.number = itertools.count(1)
        self.unused_keys: list[str] = []
        self.booked: list[Operation] = []
        # Ids of transfers received, and of those cancelled.
        self.inbox: list[int] = []
        self.cancelled: list[int] = []
        self.boss: Caller = self
        self.total = 0

    def hangs_up(self) -> bool:
        return random.random() < HANG_UPS

    def work(self, stop: threading.Event) -> None:
        """Do one thing after another until `stop` is set, and finish the last one."""
        deeds: dict[Callable[[], None], int] = {
            self.transfer: 50,
            self.batch: 12,
            self.impossible_batch: 4,
            self.twins: 6,
            self.repeat: 10,
            self.reuse: 3,
            self.cancel: 12,
            self.cancel_again: 2,
            self.audit: 1,
        }
        while not stop.is_set():
            [deed] = self.rng.choices(list(deeds), list(deeds.values()))
            try:
                deed()
            except GaveUp:
                continue
            except Exception as error:
                # A client must not end unnoticed.
                self.violation(f"{deed.__name__} fails with {error!r}")

    def transfer(self) -> None:
        """Send some money."""
        self.book(self.operation(TRANSFERS, 1))

    def batch(self) -> None:
        """Send some money to several accounts in a batch."""
        self.book(self.operation(BATCHES, self.rng.randint(2, 8)))

    def impossible_batch(self) -> None:
        """Send a batch whose last transfer cannot be booked."""
        operation = self.operation(BATCHES, self.rng.randint(2, 8))
        operation.items[-1]["balance"] = IMPOSSIBLE
        self.book(operation)
        if operation.outcome is Outcome.BOOKED:
            self.violation(f"an impossible batch is booked: {operation.body}")

    def twins(self) -> None:
        """Send the same request twice at the same time."""
        operation = self.operation(TRANSFERS, 1)
        self.memory.operations.append(operation)
        answers: list[Answer] = []

        def send() -> None:
            with suppress(GaveUp):
                answers.append(self.call("POST", operation.path, operation.body, operation.key))

        threads = [threading.Thread(target=send, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        booked = [answer for answer in answers if answer.status == 201]
        refused = [answer for answer in answers if answer.status != 201]
        if len({answer.body for answer in booked}) > 1:
            self.violation(f"one key got two responses: {booked[0]} and {booked[1]}")
        if sum(not answer.replayed for answer in booked) > 1:
            self.violation(f"one key is booked twice: {booked[0]} and {booked[1]}")
        if booked:
            self.learn(operation, booked[0])
        elif len(refused) == 2:
            # One refusal is not the outcome while the other request may still be booked.
            self.learn(operation, max(refused, key=lambda answer: answer.abandoned))
        for answer in refused:
            if not answer.is_refusal:
                self.violation(f"POST {operation.path} returned {answer}")

    def operation(self, path: str, size: int) -> Operation:
        number = next(self.number)
        key = f"key-{number}"
        if self.unused_keys and self.rng.random() < 0.5:
            # A refused request has left this key free.
            key = self.unused_keys.pop()
        items = [
            {
                "origin": self.rng.choice(self.accounts),
                "balance": self.rng.randint(1, 200_000),
                "reference": f"{self.name} {number} {index}",
            }
            for index in range(size)
        ]
        for item in items:
            others = [account for account in self.owners if account != item["origin"]]
            item["destination"] = self.rng.choice(others)
        body = items[0] if path == TRANSFERS else {"transfers": items}
        return Operation(self.name, key, path, body)

    def book(self, operation: Operation) -> None:
        self.memory.operations.append(operation)
        answer = self.call("POST", operation.path, operation.body, operation.key)
        if answer.replayed and not answer.retries:
            self.violation(f"key {operation.key} is replayed although it is new: {answer}")
        self.learn(operation, answer)

    def learn(self, operation: Operation, answer: Answer) -> None:
        """Remember the response to an operation."""
        if answer.status == 201:
            operation.answer = answer
            operation.outcome = Outcome.BOOKED
            self.booked.append(operation)
            self.memory.count("transfers acknowledged", len(operation.items))
            self.memory.count("batches" if operation.path == BATCHES else "single transfers")
            if answer.replayed and answer.retries:
                self.memory.count("answers lost")
            for transfer in operation.booked():
                self.owners[transfer["destination"]].inbox.append(transfer["id"])
        elif answer.is_refusal:
            self.memory.count("refused")
            if not answer.abandoned:
                operation.outcome = Outcome.REFUSED
                self.unused_keys.append(operation.key)
        else:
            self.violation(f"POST {operation.path} returned {answer}")

    def repeat(self) -> None:
        """Repeat a request that was answered earlier."""
        if self.booked:
            recent = self.booked[-5:] if self.rng.random() < 0.5 else self.booked
            self.replay(self.rng.choice(recent))

    def replay(self, operation: Operation) -> None:
        """Repeat an operation, and expect the same response."""
        before = operation.answer
        again = self.call("POST", operation.path, operation.body, operation.key)
        self.memory.count("replays")
        if before and (again.status, again.body, again.replayed) != (201, before.body, True):
            self.violation(f"key {operation.key} returned {before} and later {again}")

    def reuse(self) -> None:
        """Send a different request with a used key."""
        if not self.booked:
            return
        operation = self.rng.choice(self.booked)
        other = self.operation(operation.path, len(operation.items))
        answer = self.call("POST", other.path, other.body, operation.key)
        self.memory.count("keys reused")
        if (answer.status, answer.code) != (422, "idempotency_key_reused"):
            self.violation(f"another request with key {operation.key} returned {answer}")

    def cancel(self) -> None:
        """Cancel a received transfer, if the money is still there."""
        if not self.inbox:
            return
        transfer = self.inbox.pop(self.rng.randrange(len(self.inbox)))
        self.memory.cancels[transfer] = Outcome.UNKNOWN
        answer = self.call("DELETE", f"{TRANSFERS}{transfer}/")
        done_before = answer.retries and answer.code == "already_cancelled"
        if answer.status == 204 or done_before:
            self.memory.cancels[transfer] = Outcome.BOOKED
            self.cancelled.append(transfer)
            self.memory.count("cancels")
        elif answer.is_refusal:
            self.memory.count("refused")
            if not answer.abandoned:
                self.memory.cancels[transfer] = Outcome.REFUSED
        else:
            self.violation(f"DELETE of transfer {transfer} returned {answer}")

    def cancel_again(self) -> None:
        """Try to cancel a transfer a second time."""
        if self.cancelled:
            transfer = self.rng.choice(self.cancelled)
            answer = self.call("DELETE", f"{TRANSFERS}{transfer}/")
            if (answer.status, answer.code) != (400, "already_cancelled"):
                self.violation(f"a second DELETE of transfer {transfer} returned {answer}")

    def audit(self) -> None:
        """Add up all balances while everybody works."""
        accounts = self.boss.call("GET", "/api/accounts/?limit=1000").json()
        balances = [account["balance"] for account in accounts]
        self.memory.count("audits")
        if sum(balances) != self.total or min(balances) < 0:
            self.violation(f"the balances {balances} do not add up to {self.total}")
