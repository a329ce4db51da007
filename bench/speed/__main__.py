"""Measure the server beside yardsticks: `python -m bench.speed`, see docs/performance.md.

It starts what it needs: a PostgreSQL with its default durability, the server with production
settings, a bare Django project as the floor, the demo that this server replaces, pgbench and wrk.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

from bench.speed.loads import LoadFailed, Sample, program
from bench.speed.report import Noise, Result, document, noise, table
from bench.speed.stage import Failed, Stage, stage
from bench.speed.table import FLOOR, ROWS, Measurement, Row

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
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    try:
        program("wrk", "on Debian, install the package wrk")
        with stage() as running:
            results, noises = measure(running, rows, options)
            say("verifying the ledger")
            running.verify()
    except (LoadFailed, Failed, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    options.output.write_text(
        json.dumps(document(results, noises, shown_options(options)), indent=1)
    )
    floor = [
        sample.rate
        for row, result in zip(rows, results, strict=True)
        if row.reference is FLOOR
        for sample in result.reference
    ]
    print(table(results), noise(noises, floor), f"Raw figures: {options.output}", sep="\n")
    return 1 if any(result.problems for result in results) else 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    names = [row.name for row in ROWS]
    parser.add_argument("--only", action="append", choices=names, help="only this row; repeatable")
    parser.add_argument("--quick", action="store_true", help="two rounds of a second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="length of one measurement")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(gettempdir(), f"almafintech-speed-{time.strftime('%Y%m%d-%H%M%S')}.json"),
        help="file for the raw figures",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 1
    for name in "rounds", "seconds", "connections":
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    return options


def measure(
    running: Stage, rows: Sequence[Row], options: argparse.Namespace
) -> tuple[list[Result], list[Noise]]:
    """Measure all rows in each round. A row that is invalid once is not measured again."""
    results = [Result(row.name, row.title, row.at_least, row.aim, row.latency) for row in rows]
    for row, result in zip(rows, results, strict=True):
        say(f"checking {row.name}")
        for measurement in row.measured, row.reference:
            result.problems += filter(None, [checked(measurement, running, options).problem])
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
    return results, noises


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
