"""Mutation testing: each mistake in `bench.mutations` must make a test fail.

Run it by hand; it takes minutes: `python -m bench.mutants [--list] [NAME ...]`. Each mutation is
applied to a copy of the tree, and the tests it names run there; one of them has to fail. They run
on a temporary PostgreSQL, or on the server that DATABASE_URL names. The exit status is 1 if a
mutation survives, and 2 if the list no longer fits the code.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from bench.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parent.parent
# The time limit, because a mutation may make a test wait forever.
SECONDS = 300
LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", ".env", ".*_cache", ".hypothesis", "node_modules", "__pycache__"),
    *("*.sqlite3*",),
)
# Variables that programs need to start; the server's configuration is left out.
INHERITED = ("PATH", "HOME", "TMPDIR", "DATABASE_URL")
# Failures that show an invalid mutation rather than a test that notices it.
INVALID = ("NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")

NOTICED, SURVIVED, BROKEN = "noticed", "SURVIVED", "BROKEN"


class Stale(Exception):
    """A mutation that no longer fits the code."""


def mutated(mutation: Mutation, root: Path = ROOT) -> str:
    """Return the text of the file with the mutation applied. Raises Stale."""
    source = (root / mutation.file).read_text()
    found = source.count(mutation.old)
    if found != 1:
        raise Stale(
            f"{mutation.name}: {mutation.file} has {mutation.old!r} {found} times, not once"
        )
    changed = source.replace(mutation.old, mutation.new)
    try:
        compile(changed, mutation.file, "exec")
    except SyntaxError as error:
        raise Stale(f"{mutation.name}: {mutation.file} does not compile: {error}") from error
    return changed


def check(mutation: Mutation, root: Path = ROOT) -> None:
    """Raise Stale if the mutation does not apply, or names a test that does not exist."""
    mutated(mutation, root)
    for test in mutation.tests:
        file, _, name = test.partition("::")
        path = root / file
        tree = ast.parse(path.read_text()) if path.is_file() else ast.Module([], [])
        if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body):
            raise Stale(f"{mutation.name}: there is no test {test}")


def outcome(mutation: Mutation, root: Path = ROOT) -> tuple[str, str]:
    """Return whether the tests notice a mutation, and the name of that test or the error."""
    with tempfile.TemporaryDirectory(prefix="almafintech-mutant-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(root, tree, ignore=LEFT_OUT)
        (tree / mutation.file).write_text(mutated(mutation, root))
        return run(mutation.tests, tree)


def run(tests: Sequence[str], tree: Path, *options: str) -> tuple[str, str]:
    """Run tests in a tree: NOTICED if one fails, SURVIVED if all pass, BROKEN otherwise."""
    report = tree / "junit.xml"
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider"),
                *(f"--junitxml={report}", *options, *tests),
            ],
            cwd=tree,
            env=environment | {"ENV_FILE": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return BROKEN, f"not finished after {SECONDS} s"
    if done.returncode not in (0, 1):
        return BROKEN, "\n".join((done.stdout + done.stderr).splitlines()[-20:])
    return verdict(report.read_text())


def verdict(report: str) -> tuple[str, str]:
    """Return the outcome in a JUnit report, see `run`."""
    # The report is safe to parse, because a program that was started here wrote it.
    cases = list(ElementTree.fromstring(report).iter("testcase"))  # noqa: S314
    for case in cases:
        for result in case:
            name, said = case.get("name", ""), result.get("message", "")
            if result.tag == "skipped":
                return BROKEN, f"{name} is skipped: {said}"
            # The fixtures that check the books after a test fail as errors.
            asserted = result.tag == "failure" or "AssertionError" in said
            if result.tag in ("failure", "error"):
                if not asserted or said.startswith(INVALID):
                    return BROKEN, f"{name}: {said}"
                return NOTICED, name
    return (SURVIVED, "") if cases else (BROKEN, "no test was run")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these mutations")
    parser.add_argument("--list", action="store_true", help="list the mutations and exit")
    options = parser.parse_args(arguments)
    known = {mutation.name: mutation for mutation in MUTATIONS}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no such mutation: {', '.join(unknown)}")
    chosen = [known[name] for name in options.names] or list(MUTATIONS)
    if options.list:
        for mutation in chosen:
            print(f"{mutation.name:32} {mutation.file}")
        return 0
    if "DATABASE_URL" not in os.environ:
        again = [sys.executable, "scripts/with_postgres.py", sys.executable, "-m", "bench.mutants"]
        return subprocess.run([*again, *arguments], cwd=ROOT).returncode
    return survive(chosen)


def survive(chosen: Sequence[Mutation], root: Path = ROOT) -> int:
    """Print the outcome of each mutation, and return the exit status."""
    try:
        for mutation in chosen:
            check(mutation, root)
    except Stale as error:
        print(f"The list is stale. {error}", file=sys.stderr)
        return 2

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="almafintech-mutant-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(root, tree, ignore=LEFT_OUT)
        tests = sorted({test for mutation in chosen for test in mutation.tests})
        unchanged, said = run(tests, tree)
    if unchanged != SURVIVED:
        print(f"The tests must pass on the code as it is: {said}", file=sys.stderr)
        return 2

    missed = 0
    for mutation in chosen:
        started = time.monotonic()
        result, said = outcome(mutation, root)
        missed += result != NOTICED
        seconds = time.monotonic() - started
        print(f"{result:8} {mutation.name:32} {seconds:5.1f} s  {said}", flush=True)
    noticed = len(chosen) - missed
    print(f"{noticed} of {len(chosen)} noticed, in {time.monotonic() - began:.0f} s.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
