"""The console sessions of README.md and docs/api.md work as shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from almaFintech.settings import BASE_DIR
from login.development import create_development_user

CURL = Path(__file__).with_name("curl.py")


def sessions() -> list[tuple[str, str]]:
    """Return the commands of the console blocks, each with the output that the page shows."""
    pages = [(BASE_DIR / name).read_text() for name in ("README.md", "docs/api.md")]
    blocks = "".join(re.findall(r"```console\n(.*?)```", "".join(pages), re.DOTALL))
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).+\n)*)", blocks, re.MULTILINE)


@pytest.mark.server
@pytest.mark.django_db(transaction=True, reset_sequences=True)
def test_the_requests_get_the_responses_shown(live_server, settings, tmp_path):
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
    responses = [response.strip() for response in done.stdout.split("---\n")][:-1]
    shown = [output.strip() for _, output in sessions()]
    for response, pattern in zip(responses, shown, strict=True):
        assert re.fullmatch(re.escape(pattern).replace("…", ".*"), response), response
