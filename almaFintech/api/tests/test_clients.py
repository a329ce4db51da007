"""Clients generated from the OpenAPI document by public generators log in, send money and cancel.

The generated code is not kept: the promise is that the document is enough to generate it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from accounts.models import Transfer
from almaFintech.tests.servers import python
from conftest import PASSWORD, only_on_postgresql

pytestmark = [only_on_postgresql, pytest.mark.server]

TYPESCRIPT = Path(__file__).with_name("typescript")
PYTHON = Path(__file__).with_name("python_client.py")


@pytest.fixture
def server(live_server, alice):
    """The arguments of a client: URL, username, password, origin and destination."""
    savings = alice.open_account(0)
    return [live_server.url, "alice", PASSWORD, str(alice.account.pk), str(savings.pk)]


@pytest.fixture(scope="module")
def document(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("document") / "openapi.yaml"
    made = python("manage.py", "spectacular", "--file", str(path))
    assert made.returncode == 0, made.stderr
    return path


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_sent_and_cancelled(answers: str) -> None:
    [transfer] = Transfer.objects.all()
    assert json.loads(answers) == {
        "transfer": 250_000,
        "afterwards": [750_000, 250_000],
        "cancelled": 204,
        "again": "already_cancelled",
        "finally": [1_000_000, 0],
    }
    assert transfer.cancelled


@pytest.mark.django_db(transaction=True)
def test_a_python_client(server, document, tmp_path):
    scripts = Path(sys.executable).parent
    generator = str(scripts / "openapi-python-client")
    # The generator formats its output with ruff, which is installed beside the interpreter.
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    run(
        *(generator, "generate", "--path", str(document), "--fail-on-warning"),
        *("--meta", "none", "--output-path", str(tmp_path / "wallet")),
        cwd=tmp_path,
        PATH=path,
    )

    answers = run(sys.executable, str(PYTHON), *server, cwd=tmp_path, PYTHONPATH=str(tmp_path))

    assert_sent_and_cancelled(answers)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    shutil.which("npm") is None and not os.environ.get("CI"),
    reason="The TypeScript client needs Node and npm (on Debian: nodejs and npm).",
)
def test_a_typescript_client(server, document, tmp_path):
    folder = tmp_path / "client"
    shutil.copytree(TYPESCRIPT, folder, ignore=shutil.ignore_patterns("node_modules"))
    run("npm", "ci", "--ignore-scripts", "--prefer-offline", "--fetch-retries=5", cwd=folder)
    binaries = folder / "node_modules" / ".bin"
    run(str(binaries / "openapi-typescript"), str(document), "-o", "schema.d.ts", cwd=folder)
    run(str(binaries / "tsc"), "--pretty", "false", cwd=folder)

    answers = run("node", "client.js", *server, cwd=folder)

    assert_sent_and_cancelled(answers)
