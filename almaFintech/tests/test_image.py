"""The image and the composition, as far as they can be tested without building anything."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys

import pytest
import yaml
from django.conf import settings

from almaFintech.settings import ENVIRONMENT
from almaFintech.tests.servers import Server, python
from conftest import only_on_postgresql

pytestmark = [only_on_postgresql, pytest.mark.server]

DOCKERFILE = (settings.BASE_DIR / "Dockerfile").read_text()
COMPOSE = settings.BASE_DIR / "compose.yaml"
WEB = yaml.safe_load(COMPOSE.read_text())["services"]["web"]
SECRETS = {
    "POSTGRES_PASSWORD": "a-secret",
    "REDIS_PASSWORD": "another-secret",
    "SERVER_PASSWORD": "a-third-secret",
    # In hexadecimal: Compose takes "$" in .env for the name of a variable.
    "SECRET_KEY": secrets.token_hex(48),
    "LEDGER_KEY": secrets.token_hex(48),
    "ALLOWED_HOSTS": "localhost",
}


def compose() -> list[str]:
    """Return the command of Docker Compose, a plugin or a program; empty if it is missing."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version"], capture_output=True)
            if version.returncode == 0:
                return command
    return []


def stages() -> list[dict[str, list[str]]]:
    """Return the stages of the Dockerfile: the arguments of each instruction, by its name."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    stages: list[dict[str, list[str]]] = []
    for instruction in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        name, _, text = instruction.strip().partition(" ")
        if name == "FROM":
            stages.append({})
        if name and stages:
            stages[-1].setdefault(name, []).append(text.strip())
    return stages


def test_the_image_serves_and_checks_its_health(tmp_path, other_database):
    final = stages()[-1]
    [command], [check] = final["CMD"], final["HEALTHCHECK"]

    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        # The tests run the same command.
        assert json.loads(command) == ["python", "-m", "almaFintech.server"]
        [python, *arguments] = json.loads(check.partition("CMD ")[2])
        assert python == "python"
        probe = [sys.executable, *arguments]
        port = {"PORT": str(server.address[1])}
        assert subprocess.run(probe, env=port).returncode == 0
    assert subprocess.run(probe, env=port, capture_output=True).returncode == 1


def test_the_image_contains_what_the_server_needs():
    copied = {
        name
        for stage in stages()
        for line in stage["COPY"]
        if not line.startswith("--from")
        for name in line.split()[:-1]
    }
    ignored = (settings.BASE_DIR / ".dockerignore").read_text().splitlines()

    apps = {app for app in settings.INSTALLED_APPS if (settings.BASE_DIR / app).is_dir()}
    needed = {"requirements.txt", "requirements/mariadb.txt", "manage.py", *apps}
    assert copied == needed
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == needed
    assert "*" in ignored


def test_the_image_does_not_run_as_root():
    assert stages()[-1]["USER"] == ["10001"]


def test_the_composition_holds_no_secret():
    assert WEB["env_file"] == ".env"
    assert {"SECRET_KEY", "LEDGER_KEY"}.isdisjoint(WEB["environment"])


def test_the_server_of_the_composition_does_not_own_the_tables():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    owner, server = (services[name]["environment"]["DATABASE_URL"] for name in ("migrate", "web"))

    assert owner.startswith("postgres://wallet:")
    assert server.startswith("postgres://wallet_server:")
    assert (
        "grant wallet_server --password-from=SERVER_PASSWORD" in services["migrate"]["command"][-1]
    )
    assert WEB["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert "SERVER_PASSWORD" not in WEB["environment"]


def test_every_service_has_limits_and_an_image_that_can_be_pinned():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name, service in services.items():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert service["pids_limit"] <= 256, name
    images = {name: service.get("image", "") for name, service in services.items()}
    assert images["database"].startswith("${POSTGRES_IMAGE:-postgres:17")
    assert images["cache"].startswith("${REDIS_IMAGE:-redis:8")
    assert WEB["build"]["args"]["PYTHON_IMAGE"].startswith("${PYTHON_IMAGE:-python:3.11-")
    assert all(stage["FROM"][0].startswith("${PYTHON_IMAGE}") for stage in stages())


def test_the_cache_requires_a_password():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert "--requirepass ${REDIS_PASSWORD:?}" in services["cache"]["command"]
    assert WEB["environment"]["REDIS_URL"].startswith("redis://:${REDIS_PASSWORD:?}@")


def test_the_server_starts_with_the_settings_of_the_composition():
    given = {
        name: re.sub(r"\$\{\w+:\?\}", "x", value) for name, value in WEB["environment"].items()
    }
    assert set(given) <= set(ENVIRONMENT)
    code = "from almaFintech.wsgi import application; print('started')"
    # The server also starts without the database of the composition.
    started = python("-c", code, **SECRETS | given | {"DATABASE_TIMEOUT": "1"})
    assert started.stdout == "started\n", started.stderr


@pytest.fixture
def read_composition(tmp_path):
    """A function that lets Docker Compose read the composition with the settings in `.env`."""
    if not compose() and "CI" not in os.environ:
        pytest.skip("Docker Compose is not installed")
    for file in COMPOSE, settings.BASE_DIR / "Dockerfile":
        shutil.copy(file, tmp_path)

    def read(given):
        (tmp_path / ".env").write_text("".join(f"{name}={given[name]}\n" for name in given))
        return subprocess.run(
            [*compose(), "config", "--quiet"], cwd=tmp_path, capture_output=True, text=True
        )

    return read


def test_docker_compose_accepts_the_file(read_composition):
    config = read_composition(SECRETS)

    assert (config.returncode, config.stderr) == (0, "")


@pytest.mark.parametrize("missing", [name for name in SECRETS if name.endswith("PASSWORD")])
def test_docker_compose_requires_every_password(read_composition, missing):
    config = read_composition({name: SECRETS[name] for name in SECRETS if name != missing})

    assert config.returncode != 0
    assert missing in config.stderr
