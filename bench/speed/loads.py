"""The two load clients: wrk for HTTP servers, pgbench for PostgreSQL. Each runs in one thread."""

import json
import re
import secrets
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# A response that takes longer counts as an error.
TIMEOUT_SECONDS = 30
# The time that a client may need beyond its measurement.
SPARE_SECONDS = TIMEOUT_SECONDS + 30


class LoadFailed(Exception):
    """A load client that did not run."""


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        rate: operations per second.
        median_ms: median latency of a request or transaction in milliseconds; 0 if not measured.
        problem: why the figures mean nothing; empty if they are valid.
    """

    rate: float
    median_ms: float
    problem: str = ""


def program(name: str, remedy: str) -> str:
    """Return the path of a program. Raises LoadFailed with the remedy if there is none."""
    found = shutil.which(name)
    if found is None:
        raise LoadFailed(f"{name} is not installed: {remedy}")
    return found


def run(command: Sequence[str], seconds: int, cwd: Path) -> str:
    """Run a client and return its output. Raises LoadFailed."""
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=seconds + SPARE_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{command[0]} did not end") from error
    if done.returncode:
        raise LoadFailed(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def wrk(
    address: str,
    kind: str,
    world: Mapping[str, object],
    folder: Path,
    *,
    seconds: int,
    connections: int,
    expected: int,
    check: bool = False,
) -> Sample:
    """Send requests of a kind of requests.lua, which describes `world`.

    expected: the only valid status.
    check: count every status, which costs the client time, instead of errors only.
    """
    file = folder / "world.lua"
    file.write_text(f"return {lua(world)}\n")
    command = [
        *(program("wrk", "on Debian, install the package wrk"), "--threads", "1"),
        *("--connections", str(connections), "--duration", f"{seconds}s", "--latency"),
        *("--timeout", f"{TIMEOUT_SECONDS}s", "--script", str(FOLDER / "requests.lua"), address),
        *("--", kind, str(file), secrets.token_hex(8), "check" if check else ""),
    ]
    return of_wrk(run(command, seconds, folder), expected)


def of_wrk(output: str, expected: int) -> Sample:
    """Read the result that requests.lua prints. Raises LoadFailed if there is none."""
    found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
    if not found:
        raise LoadFailed(f"wrk printed no result:\n{output[-2000:]}")
    result = json.loads(found[1])
    others = {
        status: count for status, count in result["statuses"].items() if status != str(expected)
    }
    problems = {
        "responses with an error status": result["bad_statuses"],
        "errors of connections": result["socket_errors"],
        "timeouts": result["timeouts"],
        **{f"responses with the status {status}": count for status, count in others.items()},
    }
    problem = ", ".join(f"{count} {what}" for what, count in problems.items() if count)
    if not result["requests"]:
        problem = problem or "no response"
    return Sample(result["requests"] / result["seconds"], result["median_ms"], problem)


def pgbench(
    pgbench_program: str,
    host: str,
    database: str,
    script: str,
    variables: Mapping[str, int],
    folder: Path,
    *,
    seconds: int,
    connections: int,
) -> Sample:
    """Run a script of this folder; the median is of all its transactions."""
    log = folder / "pgbench_log"
    command = [
        *(pgbench_program, "--no-vacuum", "--protocol", "prepared", "--log"),
        *("--log-prefix", str(log), "--jobs", "1", "--client", str(connections)),
        *("--time", str(seconds), "--file", str(FOLDER / script)),
        *(f"--define={name}={value}" for name, value in variables.items()),
        *("--host", host, "--username", "postgres", database),
    ]
    try:
        output = run(command, seconds, folder)
        latencies = [
            int(line.split()[2])
            for file in folder.glob(f"{log.name}.*")
            for line in file.read_text().splitlines()
        ]
    finally:
        for file in folder.glob(f"{log.name}.*"):
            file.unlink()
    return of_pgbench(output, latencies)


def of_pgbench(output: str, microseconds: Sequence[int]) -> Sample:
    """Read what pgbench prints, and the latencies of its log. Raises LoadFailed."""
    rate = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
    if not rate:
        raise LoadFailed(f"pgbench printed no result:\n{output[-2000:]}")
    failed = re.search(r"^number of failed transactions: (\d+)", output, re.MULTILINE)
    count = int(failed[1]) if failed else 0
    problem = f"{count} failed transactions" if count else ""
    if not microseconds:
        return Sample(float(rate[1]), 0, problem or "no transaction")
    return Sample(float(rate[1]), statistics.median(microseconds) / 1000, problem)


def lua(value: object) -> str:
    """Return a value of JSON as Lua. Texts must be printable ASCII."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}={lua(each)}" for name, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "{" + ",".join(map(lua, value)) + "}"
    return json.dumps(value)
