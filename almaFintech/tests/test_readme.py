"""What the README says is so: its requests are sent, its tables are compared."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import Resolver404, resolve

from almaFintech.api.views import no_such_path
from almaFintech.settings import ENVIRONMENT
from login.development import create_development_user

README = (settings.BASE_DIR / "README.md").read_text()
CURL = Path(__file__).with_name("curl.py")


def sessions() -> list[tuple[str, str]]:
    """The commands of the console blocks, each with the output that the README shows."""
    blocks = "".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL))
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).+\n)*)", blocks, re.MULTILINE)


@pytest.mark.django_db(transaction=True, reset_sequences=True)
def test_the_requests_give_the_answers(live_server, settings, tmp_path):
    settings.DEBUG = True
    create_development_user()
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\nexec {sys.executable} {CURL} {live_server.url} "$@"\n')
    curl.chmod(0o755)
    script = "".join(f"{command}\necho; echo ---\n" for command, _ in sessions())

    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stderr == ""
    answers = [answer.strip() for answer in done.stdout.split("---\n")][:-1]
    expected = [output.strip() for _, output in sessions()]
    assert len(answers) == len(expected) > 5
    for answer, pattern in zip(answers, expected, strict=True):
        assert re.fullmatch(re.escape(pattern).replace("…", ".*"), answer), answer


def test_every_variable_is_described_with_its_default():
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)?", README, re.MULTILINE))

    assert list(rows) == list(ENVIRONMENT)
    for name, (_, default) in ENVIRONMENT.items():
        shown = (
            ""
            if default in ("", [])
            else str(default).lower()
            if isinstance(default, bool)
            else str(default)
        )
        assert rows[name] == shown, name


def test_every_path_is_served():
    rows = re.findall(r"^\| `([a-z_/{}]+/)` \| [A-Z]", README, re.MULTILINE)

    assert len(rows) == 19
    for row in rows:
        path = "/api/" + re.sub(r"{\w+}", "1", row)
        try:
            assert resolve(path).func is not no_such_path, path
        except Resolver404:
            pytest.fail(path)
