"""docs/security.md agrees with the code, and the server opens no addresses from requests."""

import ast
import re
import socket
import subprocess

from almaFintech.settings import BASE_DIR, ENVIRONMENT

PAGE = (BASE_DIR / "docs" / "security.md").read_text()
# An address that is reserved for documentation (RFC 5737).
ELSEWHERE = "http://192.0.2.1/"


def test_the_named_tests_exist():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    tests = {
        node.name
        for app in ("accounts", "almaFintech", "audit", "login")
        for path in (BASE_DIR / app).rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }

    assert named - tests == set()


def test_every_risk_has_a_row_with_a_test():
    table = PAGE.split("\n\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]

    numbers = re.findall(r"^\| API(\d+) ", table, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 11)]
    for row in rows:
        assert re.search(r"`test_\w+`", row[-1]), row


def test_the_figures_are_the_defaults():
    for name, row in (
        ("LOGIN_RATE_PER_ADDRESS", "one address, any number of names"),
        ("LOGIN_RATE_PER_USERNAME", "any number of addresses, one name"),
    ):
        rate = str(ENVIRONMENT[name][1])
        assert f"| {row} | {rate.removesuffix('/m')} |" in PAGE


def test_no_address_that_a_client_sends_is_opened(boss, alice, bob, monkeypatch):
    opened: list[object] = []
    for owner, name in (
        (socket.socket, "connect"),
        (socket, "create_connection"),
        (socket, "getaddrinfo"),
        (subprocess, "Popen"),
    ):
        monkeypatch.setattr(owner, name, lambda *args, **options: opened.append(args))
    transfer = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 1}
    profile = f"/api/profiles/{bob.user.pk}/"

    for method, path, body in (
        ("POST", "/api/transfers/", {**transfer, "reference": ELSEWHERE}),
        ("GET", f"/api/transfers/?reference={ELSEWHERE}", None),
        ("GET", f"/api/accounts/{bob.account.pk}/statement/?format=csv", None),
        ("PATCH", profile, {"company": ELSEWHERE}),
        ("GET", profile, None),
        ("PATCH", "/api/me/", {"first_name": ELSEWHERE, "last_name": ELSEWHERE}),
        ("GET", "/api/me/", None),
    ):
        response = boss.request(method, path, body, referer=ELSEWHERE, origin=ELSEWHERE)

        assert response.status_code in (200, 201), path
        assert ELSEWHERE.encode() in response.getvalue()

    assert opened == []
