"""The benchmark reads its load clients correctly, and never reports an invalid measurement."""

import json
import shutil
import subprocess
import sys

import pytest

from almaFintech.settings import BASE_DIR
from bench.speed.__main__ import parsed
from bench.speed.loads import LoadFailed, Sample, lua, of_pgbench, of_wrk, program
from bench.speed.report import Noise, Result, document, noise, table
from bench.speed.table import FLOOR, ROWS
from conftest import only_on_postgresql

WRK = {
    "requests": 500,
    "seconds": 2.0,
    "median_ms": 1.5,
    "bad_statuses": 0,
    "socket_errors": 0,
    "timeouts": 0,
    "statuses": {},
}
PGBENCH = """
number of transactions actually processed: 1000
number of failed transactions: {failed} (0.000%)
latency average = 2.000 ms
initial connection time = 5.000 ms
tps = 499.500000 (without initial connection time)
"""


def wrk_output(**changes):
    return f"Running 2s test\nRESULT {json.dumps(WRK | changes)}\n"


def result(*pairs, latency=False):
    at_least, aim = (3, 2) if latency else (0.5, 0.8)
    made = Result("get", "GET ÷ floor", at_least, aim, latency)
    for measured, reference in pairs:
        made.add(Sample(measured, measured), Sample(reference, reference))
    return made


def test_the_result_of_wrk_is_read():
    assert of_wrk(wrk_output(), 200) == Sample(250, 1.5)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"bad_statuses": 3}, "3 responses with an error status"),
        ({"socket_errors": 2}, "2 errors of connections"),
        ({"timeouts": 1}, "1 timeouts"),
        ({"requests": 0}, "no response"),
        # wrk counts no error for a redirect.
        ({"statuses": {"200": 9, "301": 4}}, "4 responses with the status 301"),
    ],
)
def test_errors_that_wrk_counts_are_problems(changes, problem):
    assert of_wrk(wrk_output(**changes), 200).problem == problem


def test_the_expected_status_is_no_problem():
    assert of_wrk(wrk_output(statuses={"201": 500}), 201).problem == ""


def test_a_client_that_prints_no_result_has_failed():
    with pytest.raises(LoadFailed):
        of_wrk("unable to connect", 200)
    with pytest.raises(LoadFailed):
        of_pgbench("connection refused", [])


def test_the_result_of_pgbench_is_its_rate_and_the_median_of_its_log():
    assert of_pgbench(PGBENCH.format(failed=0), [900, 1200, 50_000]) == Sample(499.5, 1.2)


def test_failed_transactions_are_a_problem():
    assert of_pgbench(PGBENCH.format(failed=7), [900]).problem == "7 failed transactions"


def test_a_missing_program_is_named_with_its_remedy():
    with pytest.raises(LoadFailed, match="no-such-program is not installed: install it"):
        program("no-such-program", "install it")


def test_ids_and_tokens_are_written_as_lua():
    value = {"tokens": ["a.b", "c"], "accounts": [1, 2], "keyed": True}

    assert lua(value) == '{tokens={"a.b","c"},accounts={1,2},keyed=true}'


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds():
    # The ratio of the medians would be 0.5.
    steady = result((100, 200), (300, 400), (10, 100))

    assert steady.ratios == [0.5, 0.75, 0.1]
    assert steady.ratio == 0.5
    assert "0.10-0.75" in steady.line()


@pytest.mark.parametrize(
    ("pair", "latency", "verdict"),
    [
        ((9, 10), False, "aim reached"),
        ((6, 10), False, "enough"),
        ((4, 10), False, "below"),
        ((15, 10), True, "aim reached"),
        ((25, 10), True, "enough"),
        ((40, 10), True, "below"),
    ],
)
def test_verdicts_compare_rates_and_latencies_with_the_aims(pair, latency, verdict):
    assert result(pair, latency=latency).verdict == verdict


def test_an_invalid_row_has_no_ratio():
    invalid = result((9, 10))
    invalid.add(Sample(5000, 0.1, "12 responses with an error status"), Sample(10, 1))

    assert invalid.ratio is None
    assert "INVALID: 12 responses with an error status" in table([invalid])
    assert document([invalid], [], {})["rows"][0]["verdict"] == "INVALID"


def test_raw_figures_and_noise_are_kept():
    raw = document([result((9, 10))], [Noise(50.0, 1.5)], {"rounds": 1})

    [row] = json.loads(json.dumps(raw))["rows"]
    assert (row["measured"][0]["rate"], row["reference"][0]["rate"], row["ratio"]) == (9, 10, 0.9)
    assert raw["noise"] == [{"loop_ms": 50.0, "load": 1.5}]
    assert "100 (-10% to +20%)" in noise([Noise(50.0, 1.5)], [90, 100, 120])


def test_rows_are_chosen_by_name():
    assert parsed(["--only", "get", "--only", "page"]).only == ["get", "page"]
    assert {row.name for row in ROWS} == set(parsed([]).only)
    quick = parsed(["--quick"])
    assert (quick.rounds, quick.seconds) == (2, 1)
    # Filling the tables takes minutes.
    assert "get" in quick.only
    assert not any(name.startswith("rows-") for name in quick.only)


def test_another_tree_needs_the_measurement_of_cpu(tmp_path):
    with pytest.raises(SystemExit):
        parsed(["--against", str(BASE_DIR)])
    with pytest.raises(SystemExit):
        parsed(["--cpu", "--against", str(tmp_path)])
    assert parsed(["--cpu", "--against", str(BASE_DIR)]).against == BASE_DIR


def speed(*options):
    done = subprocess.run(
        [sys.executable, "-m", "bench.speed", *options],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# They start their own PostgreSQL, so one run suffices for all databases.
@only_on_postgresql
@pytest.mark.server
def test_the_cpu_of_requests_is_measured(tmp_path):
    file = tmp_path / "raw.json"
    speed("--cpu", "--rounds", "1", "--requests", "4", "--output", str(file))

    rows = json.loads(file.read_text())["rows"]
    assert {row["name"] for row in rows} >= {"get", "page", "post", "delete", "batch"}
    assert all(row["ratio"] > 0 for row in rows)


@only_on_postgresql
@pytest.mark.server
@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_a_row_is_measured_with_wrk_and_pgbench(tmp_path):
    file = tmp_path / "raw.json"
    speed("--quick", "--only", "latency", "--output", str(file))

    [row] = json.loads(file.read_text())["rows"]
    assert row["problems"] == []
    assert len(row["ratios"]) == 2
    assert row["reference"][0]["rate"] > 0


def test_the_floor_is_the_reference_of_its_rows():
    assert [row.name for row in ROWS if row.reference is FLOOR] == ["get", "page", "post", "delete"]
