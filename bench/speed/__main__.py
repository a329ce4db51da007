"""Measure the server beside yardsticks: `python -m bench.speed`, see docs/performance.md.

It starts what it needs: a PostgreSQL with its default durability, the server with production
settings, a bare Django project as the floor, the demo that this server replaces, pgbench and wrk.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import gettempdir

from bench.speed.cpu import TITLES, compare
from bench.speed.loads import LoadFailed, Sample, program
from bench.speed.report import Noise, Result, document, noise, table
from bench.speed.stage import Failed, Stage, stage
from bench.speed.table import FLOOR, ROWS, Measurement

# The latest end of a run.
MOST_SECONDS = 4 * 3600


def main(arguments: Sequence[str]) -> int:
    options = parsed(arguments)

    def end(number: int, frame: object) -> None:
        sys.exit(f"ended by signal {number}")

    # Every signal ends the `with` blocks, so that no process stays behind.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, end)
    signal.alarm(MOST_SECONDS)
    try:
        with stage(options.rows) as running:
            for results, noises in (cpu if options.cpu else load)(running, options):
                # After each round, so that an interrupted run leaves its figures.
                raw = document(results, noises, shown_options(options))
                options.output.write_text(json.dumps(raw, indent=1))
            say("verifying the ledger")
            running.verify()
            memory = running.memory_of_hashes()
    except (LoadFailed, Failed, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    print(table(results), noise(noises, rates_of_floor(results)), sep="\n")
    print(memory, f"Raw figures: {options.output}", sep="\n")
    return 1 if any(result.problems for result in results) else 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="ROW", help="only this row; may be repeated"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a look: two rounds of a second, without long rows"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="length of one measurement")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(gettempdir(), f"almafintech-speed-{time.strftime('%Y%m%d-%H%M%S')}.json"),
        help="file for the raw figures",
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="what many rows are")
    parser.add_argument("--cpu", action="store_true", help="measure the CPU inside one process")
    parser.add_argument("--against", type=Path, help="with --cpu: another tree of this server")
    parser.add_argument("--requests", type=int, default=300, help="with --cpu: in each round")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.requests = 2, 1, 100
    names = list(TITLES) if options.cpu else [row.name for row in ROWS]
    if unknown := set(options.only or ()) - set(names):
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(names)}")
    if not options.only:
        long = {row.name for row in ROWS if not row.quick} if options.quick else set()
        options.only = [name for name in names if name not in long]
    for name in "rounds", "seconds", "connections", "rows", "requests":
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    if options.against:
        options.against = options.against.resolve()
        if not (options.cpu and (options.against / "manage.py").exists()):
            parser.error("--against takes a tree of this server, and needs --cpu")
    return options


def cpu(running: Stage, options: argparse.Namespace) -> Iterator[tuple[list[Result], list[Noise]]]:
    """Yield everything that was measured, after each round."""
    noises = []
    for results in compare(running, options.against, options.only, options.requests):
        noises.append(Noise.now())
        say(f"round {len(noises)} of {options.rounds}")
        yield results, noises
        if len(noises) == options.rounds:
            break


def load(running: Stage, options: argparse.Namespace) -> Iterator[tuple[list[Result], list[Noise]]]:
    """Measure all rows in each round, and yield everything that was measured so far.

    A row that is invalid once is not measured again.
    """
    program("wrk", "on Debian, install the package wrk")
    rows = [row for row in ROWS if row.name in options.only]
    results = [Result(row.name, row.title, row.at_least, row.aim, row.latency) for row in rows]
    for row, result in zip(rows, results, strict=True):
        say(f"checking {row.name}")
        for measurement in row.measured, row.reference:
            problem = checked(measurement, running, options).problem
            result.problems += [problem] if problem else []
    noises = []
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        noises.append(Noise.now())
        for row, result in zip(rows, results, strict=True):
            if result.problems:
                continue
            # The order alternates, so that no side always runs on the warmer machine.
            pair = [row.measured, row.reference][:: 1 if number % 2 else -1]
            samples = [sampled(each, running, options) for each in pair]
            result.add(*samples[:: 1 if number % 2 else -1])
        yield results, noises


def rates_of_floor(results: Sequence[Result]) -> list[float]:
    floored = {row.name for row in ROWS if row.reference is FLOOR}
    return [
        sample.rate
        for result in results
        if result.name in floored and not result.latency
        for sample in result.reference
    ]


def checked(measurement: Measurement, running: Stage, options: argparse.Namespace) -> Sample:
    try:
        return measurement.check(running, options.connections)
    except LoadFailed as error:
        return Sample(0, 0, str(error))


def sampled(measurement: Measurement, running: Stage, options: argparse.Namespace) -> Sample:
    try:
        return measurement.sample(running, options.seconds, options.connections)
    except LoadFailed as error:
        return Sample(0, 0, str(error))


def shown_options(options: argparse.Namespace) -> dict[str, object]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
    }


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
