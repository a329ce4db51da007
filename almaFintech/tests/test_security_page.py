"""What docs/security.md says is so."""

import ast
import re

from almaFintech.settings import BASE_DIR, ENVIRONMENT

PAGE = (BASE_DIR / "docs" / "security.md").read_text()
APPS = ("accounts", "almaFintech", "audit", "login")
SOURCES = [path for app in APPS for path in (BASE_DIR / app).rglob("*.py")]


def test_the_named_tests_exist():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    tests = {
        node.name
        for path in SOURCES
        if path.name.startswith("test_")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }

    assert len(named) > 30
    assert named - tests == set()


def test_every_risk_has_a_row_with_a_test():
    table = PAGE.split("\n\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]

    numbers = re.findall(r"^\| API(\d+) ", table, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 11)]
    for row in rows:
        assert len(row) == 4
        assert re.search(r"`test_\w+`", row[-1]), row


def test_the_figures_are_the_defaults():
    address, name = (ENVIRONMENT[f"LOGIN_RATE_PER_{kind}"][1] for kind in ("ADDRESS", "USERNAME"))

    assert f"| one address, any number of names | {address.removesuffix('/m')} |" in PAGE
    assert f"| any number of addresses, one name | {name.removesuffix('/m')} |" in PAGE


def test_the_server_opens_no_connections():
    """Of its own: those to the database and to Redis are opened by their drivers."""
    clients = {"socket", "http", "urllib", "requests", "httpx", "aiohttp", "subprocess", "smtplib"}
    imported = {
        (path.name, name)
        for path in SOURCES
        if "tests" not in path.relative_to(BASE_DIR).parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in [getattr(node, "module", None) or node.names[0].name]
        # These two hold names and take addresses apart; they connect to nothing.
        if name.split(".")[0] in clients and name not in ("http", "urllib.parse")
    }

    # The server listens, `make run` looks whether its port is free, and a backup runs the programs
    # of the database.
    assert imported == {
        ("master.py", "socket"),
        ("start.py", "socket"),
        ("backups.py", "subprocess"),
    }
    for name in "almaFintech/server/master.py", "almaFintech/management/commands/start.py":
        assert "connect(" not in (BASE_DIR / name).read_text()
