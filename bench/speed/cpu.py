"""CPU of the hot requests inside one process, beside the floor or another tree.

It says which of two trees costs less even on a machine that others use. It leaves out the server in
front of the application, the database's own work, and how threads get in each other's way.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.speed.loads import Sample
from bench.speed.report import Result
from bench.speed.stage import BASE_DIR, PASSWORD, PEOPLE, Stage, inside

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
    stage: Stage, against: Path | None, names: Sequence[str], requests: int
) -> Iterator[list[Result]]:
    """Measure this tree and the other one, or the floor, in turn; each time in a new process.

    Yields all results so far after each round, without end.
    """
    measured = of_tree(stage, BASE_DIR, "this", names, requests)
    if against:
        beside, reference = "other tree", of_tree(stage, against, "other", names, requests)
    else:
        beside, reference = "floor", of_floor(stage, requests)
    results = {
        name: Result(name, f"{TITLES[name]} ÷ {beside}", None, None, latency=True) for name in names
    }
    for order in cycle([1, -1]):
        ours, theirs = [measure() for measure in [measured, reference][::order]][::order]
        for name, result in results.items():
            result.add(sample(ours[name]), sample(theirs.get(name) or theirs["floor"]))
        yield list(results.values())


def sample(milliseconds: float) -> Sample:
    return Sample(1000 / milliseconds, milliseconds)


def of_tree(
    stage: Stage, tree: Path, database: str, names: Sequence[str], requests: int
) -> Measure:
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
                ["cpu", str(file), str(requests), *names],
                {**environment, "PROMETHEUS_MULTIPROC_DIR": metrics},
                tree=tree,
            )
        return found

    return measure


def of_floor(stage: Stage, requests: int) -> Measure:
    environment, token = stage.prepare_floor()

    def measure() -> Mapping[str, float]:
        found: dict[str, float] = inside(["floor-cpu", token, str(requests)], environment)
        return found

    return measure
