"""CPU of the hot requests inside one process, beside the floor or another tree.

It says which of two trees costs less even on a machine that others use. It leaves out the server in
front of the application, the database's own work, and how threads get in each other's way.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.speed.loads import Sample
from bench.speed.report import Result
from bench.speed.stage import BASE_DIR, PASSWORD, PEOPLE, Stage, inherited, inside, output_of

TITLES = {
    "get": "GET one account, plain user",
    "page": "page of 100 transfers, staff",
    "post-without-key": "POST a transfer",
    "post": "POST a transfer with a key",
    "delete": "DELETE by a receiver with 1000 accounts",
    "batch": "batch of 1000",
}
Measure = Callable[[], Mapping[str, float]]


def compare(
    stage: Stage, against: Path | None, rounds: int, requests: int, say: Callable[[str], None]
) -> list[Result]:
    """Measure this tree and the other one, or the floor, in turn; each time in a new process."""
    say("creating the users and accounts")
    measured = of_tree(stage, BASE_DIR, "this", requests)
    reference = of_tree(stage, against, "other", requests) if against else of_floor(stage, requests)
    beside = "other tree" if against else "floor"
    results = {
        name: Result(name, f"{title} ÷ {beside}", None, None, latency=True)
        for name, title in TITLES.items()
    }
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        order = [measured, reference][:: 1 if number % 2 else -1]
        ours, theirs = [measure() for measure in order][:: 1 if number % 2 else -1]
        for name, result in results.items():
            result.add(sample(ours[name]), sample(theirs.get(name, theirs.get("floor", 0))))
    return list(results.values())


def sample(milliseconds: float) -> Sample:
    return Sample(1000 / milliseconds if milliseconds else 0, milliseconds)


def of_tree(stage: Stage, tree: Path, database: str, requests: int) -> Measure:
    """Create a database with the migrations of a tree, and return how to measure in it."""
    stage.create_database(database)
    environment = stage.environment(database)
    ids: dict[str, Any] = inside(["world", str(PEOPLE), PASSWORD], environment, tree=tree)
    file = stage.folder / f"{database}.json"
    file.write_text(json.dumps(ids))

    def measure() -> Mapping[str, float]:
        # The workers of a server share their metrics through files.
        with TemporaryDirectory(dir=stage.folder) as metrics:
            found: dict[str, float] = inside(
                ["cpu", str(file), str(requests)],
                {**environment, "PROMETHEUS_MULTIPROC_DIR": metrics},
                tree=tree,
            )
        return found

    return measure


def of_floor(stage: Stage, requests: int) -> Measure:
    stage.create_database("floor")
    environment = {**inherited(), **stage.keys, "DATABASE_URL": stage.url("floor")}
    token = output_of(["-m", "bench.speed.floor"], environment).strip()

    def measure() -> Mapping[str, float]:
        found: dict[str, float] = inside(["floor-cpu", token, str(requests)], environment)
        return found

    return measure
