"""The rows of the table: what is measured, beside which yardstick, and the aims."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bench.speed import loads
from bench.speed.loads import Sample
from bench.speed.stage import Site, Stage

PAGE = 100
BATCH = 1000
# More transfers than are cancelled at the rate of the floor.
SUPPLY = 1.2
# Two batches of random transfers share most of their accounts, so they cannot run at once.
BATCH_CONNECTIONS = 2
# These take long, and a measurement has to see several of them.
BATCH_SECONDS = 4
LOGIN_SECONDS = 10
# How much slower a read may be with many rows in the tables than with few.
GROWTH = (1.5, 1.1)


class Measurement(Protocol):
    """Something that can be measured again and again."""

    def sample(self, stage: Stage, seconds: int, connections: int) -> Sample: ...

    def check(self, stage: Stage, connections: int) -> Sample:
        """Measure for a second and look at each response; it also warms the services up."""


@dataclass(frozen=True)
class Requests:
    """Requests of a kind of requests.lua to a server.

    Attributes:
        kind, world: the kind, and what it needs to know from the ids of the site.
        expected: the only valid status.
        operations: what one request counts for.
        connections: their number; None for that of the options.
        least_seconds: the shortest measurement that sees several responses.
    """

    site: Callable[[Stage], Site]
    kind: str
    world: Callable[[Mapping[str, Any]], Mapping[str, object]]
    expected: int = 200
    operations: int = 1
    connections: int | None = None
    least_seconds: int = 1

    def sample(self, stage: Stage, seconds: int, connections: int) -> Sample:
        return self._sent(stage, seconds, connections, check=False)

    def check(self, stage: Stage, connections: int) -> Sample:
        return self._sent(stage, 1, connections, check=True)

    def _sent(self, stage: Stage, seconds: int, connections: int, *, check: bool) -> Sample:
        site, seconds = self.site(stage), max(seconds, self.least_seconds)
        sample = loads.wrk(
            site.address,
            self.kind,
            {**self.world(site.ids), **self.supply(stage, site, seconds)},
            stage.folder,
            seconds=seconds,
            connections=self.connections or connections,
            expected=self.expected,
            check=check,
        )
        return Sample(sample.rate * self.operations, sample.median_ms, sample.problem)

    def supply(self, stage: Stage, site: Site, seconds: int) -> Mapping[str, object]:
        """Prepare what each request uses up."""
        return {}


@dataclass(frozen=True)
class Cancellations(Requests):
    """Cancellations of transfers between the accounts of a user, which are booked before."""

    username: str = "rich"

    def supply(self, stage: Stage, site: Site, seconds: int) -> Mapping[str, object]:
        rate = max(stage.floor_rate, 1000)
        return {
            "transfers": stage.transfers_to_cancel(
                site, int(rate * seconds * SUPPLY), self.username
            )
        }


class Floor(Requests):
    def _sent(self, stage: Stage, seconds: int, connections: int, *, check: bool) -> Sample:
        sample = super()._sent(stage, seconds, connections, check=check)
        stage.floor_rate = max(stage.floor_rate, sample.rate)
        return sample


@dataclass(frozen=True)
class Transactions:
    """A script for pgbench, on the tables of the server."""

    script: str
    variables: Mapping[str, int]
    operations: int = 1
    connections: int | None = None

    def sample(self, stage: Stage, seconds: int, connections: int) -> Sample:
        sample = loads.pgbench(
            stage.pgbench,
            stage.database.socket_folder,
            "yardstick",
            self.script,
            {**stage.yardstick, **self.variables},
            stage.folder,
            seconds=seconds,
            connections=self.connections or connections,
        )
        return Sample(sample.rate * self.operations, sample.median_ms, sample.problem)

    def check(self, stage: Stage, connections: int) -> Sample:
        return self.sample(stage, 1, connections)


@dataclass(frozen=True)
class Row:
    """A ratio of two measurements, taken right after each other in each round.

    Attributes:
        name: the word for `--only`.
        at_least, aim: ratios; None if there is none.
        latency: compare medians of latency, of which lower ones are better, instead of rates.
        quick: whether it is short enough for `--quick`.
    """

    name: str
    title: str
    measured: Measurement
    reference: Measurement
    at_least: float | None = None
    aim: float | None = None
    latency: bool = False
    quick: bool = True


def wallet(stage: Stage) -> Site:
    return stage.wallet


def floor(stage: Stage) -> Site:
    return stage.floor


def demo(stage: Stage) -> Site:
    return stage.demo


def few(stage: Stage) -> Site:
    return stage.few


def many(stage: Stage) -> Site:
    return stage.many


def owners(ids: Mapping[str, Any], **more: object) -> Mapping[str, object]:
    return {"tokens": ids["tokens"], "accounts": ids["accounts"], **more}


def constant(path: str, user: str) -> Callable[[Mapping[str, Any]], Mapping[str, object]]:
    """Return what the kind `constant` needs; names of ids in the path are replaced."""
    return lambda ids: {"path": path.format(**ids), "token": ids[user]}


def credentials(ids: Mapping[str, Any]) -> Mapping[str, object]:
    return {"tokens": ids["tokens"], "password": ids["password"]}


def merchant(ids: Mapping[str, Any]) -> Mapping[str, object]:
    return {"token": ids["merchant"]}


def growth(name: str, title: str, path: str, user: str = "staff") -> Row:
    """Compare the latency of a read with many rows in the tables to that with few."""
    world = constant(path, user)
    return Row(
        f"rows-{name}",
        f"{title}: many rows ÷ few",
        Requests(many, "constant", world),
        Requests(few, "constant", world),
        *GROWTH,
        latency=True,
        quick=False,
    )


FLOOR = Floor(floor, "constant", constant("/", "token"))
GET = Requests(wallet, "account", owners)
POST = Requests(wallet, "transfer", lambda ids: owners(ids, keyed=True), 201)
HOT = Requests(wallet, "transfer", lambda ids: owners(ids, keyed=True, hot=True), 201)

ROWS = (
    Row("get", "GET one account, plain user ÷ floor", GET, FLOOR, 0.6, 0.85),
    Row(
        "page",
        f"page of {PAGE} transfers, staff ÷ floor",
        Requests(wallet, "constant", constant(f"/api/transfers/?limit={PAGE}", "boss")),
        FLOOR,
        *(0.35, 0.5),
    ),
    Row("post", "POST a transfer with a key, 1000 accounts ÷ floor", POST, FLOOR, 0.45, 0.7),
    Row("hot", "POST, one hot account ÷ spread out", HOT, POST, 0.95, 1.1),
    Row(
        "hot-pgbench",
        "POST, one hot account ÷ pgbench, same rows",
        HOT,
        Transactions("one.sql", {"hot": 1}),
        *(0.35, 0.8),
    ),
    Row(
        "delete",
        "DELETE by a receiver with 1000 accounts ÷ floor",
        Cancellations(wallet, "cancel", lambda ids: {"token": ids["rich"]}, 204),
        FLOOR,
        *(0.3, 0.5),
    ),
    Row(
        "batch",
        f"batch of {BATCH} ÷ pgbench, 100 transfers in each transaction",
        Requests(
            wallet,
            "batch",
            lambda ids: {"token": ids["rich"], "accounts": ids["accounts"], "size": BATCH},
            201,
            operations=BATCH,
            connections=BATCH_CONNECTIONS,
            least_seconds=BATCH_SECONDS,
        ),
        Transactions("hundred.sql", {}, operations=100),
        *(0.25, 0.5),
    ),
    Row(
        "post-demo",
        "POST ÷ the old demo",
        POST,
        Requests(demo, "transfer", owners, 201),
        *(2.5, 4),
    ),
    Row(
        "get-demo", "GET one account ÷ the old demo", GET, Requests(demo, "account", owners), 1.3, 2
    ),
    Row(
        "latency",
        "POST at one connection ÷ pgbench, same rows: median latency",
        Requests(wallet, "transfer", lambda ids: owners(ids, keyed=True), 201, connections=1),
        Transactions("one.sql", {"hot": 0}, connections=1),
        *(5, 3),
        latency=True,
    ),
    Row(
        "login",
        "login ÷ the demo with Django's Argon2 parameters",
        Requests(wallet, "login", credentials, least_seconds=LOGIN_SECONDS),
        Requests(demo, "login", credentials, least_seconds=LOGIN_SECONDS),
        3,
        quick=False,
    ),
    growth("page", f"page of {PAGE} transfers, staff", f"/api/transfers/?limit={PAGE}"),
    growth("own", "the same, user with 1000 accounts", f"/api/transfers/?limit={PAGE}", "merchant"),
    growth("account", "transfers of an account", "/api/accounts/{account}/transfers/"),
    growth("statement", "statement of an account", "/api/accounts/{account}/statement/"),
    growth("at", "balance at a moment", "/api/accounts/{account}/?at={moment}"),
    growth("biggest", "biggest accounts", "/api/accounts/biggest/"),
    Row(
        "rows-delete",
        "DELETE, receiver with 1000 accounts: many rows ÷ few",
        Cancellations(many, "cancel", merchant, 204, username="merchant"),
        Cancellations(few, "cancel", merchant, 204, username="merchant"),
        *GROWTH,
        latency=True,
        quick=False,
    ),
)
