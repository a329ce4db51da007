"""The image and the composition: what can be said of them without building them."""

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
from conftest import once

pytestmark = once

DOCKERFILE = (settings.BASE_DIR / "Dockerfile").read_text()
COMPOSE = settings.BASE_DIR / "compose.yaml"
WEB = yaml.safe_load(COMPOSE.read_text())["services"]["web"]
SECRETS = {
    "POSTGRES_PASSWORD": "a-secret",
    "REDIS_PASSWORD": "another-secret",
    "SERVER_PASSWORD": "a-third-secret",
    # As docs/operating.md makes one: Compose takes "$" in .env for the name of a variable.
    "SECRET_KEY": secrets.token_hex(48),
    "LEDGER_KEY": secrets.token_hex(48),
    "ALLOWED_HOSTS": "localhost",
}


def compose() -> list[str]:
    """The command of Docker Compose, as a plugin or a program of its own; empty without either."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version"], capture_output=True)
            if version.returncode == 0:
                return command
    return []


def test_the_image_runs_what_the_tests_run(tmp_path, other_database):
    [command] = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    [check] = re.findall(r"HEALTHCHECK.*\n +CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)

    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        assert json.loads(command)[1:] == ["-m", "almaFintech.server"]
        [python, *arguments] = json.loads(check)
        assert python == "python"
        probe = [sys.executable, *arguments]
        port = {"PORT": str(server.address[1])}
        assert subprocess.run(probe, env=port).returncode == 0
    assert subprocess.run(probe, env=port, capture_output=True).returncode == 1
    assert "SERVE_ADDRESS=0.0.0.0:8000" in DOCKERFILE
    assert "or '8000'" in arguments[-1]


def test_the_image_gets_what_the_server_needs():
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {name for line in sources for name in line.split()}
    ignored = (settings.BASE_DIR / ".dockerignore").read_text()
    kept = set(re.findall(r"^!(.+)$", ignored, re.MULTILINE))

    apps = {app for app in settings.INSTALLED_APPS if (settings.BASE_DIR / app).is_dir()}
    assert (
        copied
        == kept
        == {
            "requirements.txt",
            "requirements/mariadb.txt",
            "manage.py",
            *apps,
        }
    )
    assert "*" in ignored.splitlines()
    assert "--require-hashes" in DOCKERFILE


def test_mariadb_comes_into_the_image_by_an_argument():
    stages = DOCKERFILE.split("FROM ")[1:]

    assert all("ARG MARIADB=false" in stage for stage in stages)
    for stage, needed in zip(stages, ("-r mariadb.txt", "libmariadb3"), strict=True):
        [condition] = re.findall(
            r'^RUN if \[ "\$MARIADB" = true \]; then (.*?)fi$', stage, re.M | re.S
        )
        assert needed in condition
    assert "--build-arg MARIADB=true" in (settings.BASE_DIR / "docs/operating.md").read_text()


def test_the_image_does_not_run_as_root():
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001"]
    assert DOCKERFILE.index("USER ") < DOCKERFILE.index("\nCMD ")


def test_the_composition_holds_no_secret():
    assert WEB["env_file"] == ".env"
    # `:?` has no default: compose asks for it before anything starts.
    asked = set(re.findall(r"\$\{(\w+)(?!\w|:-)", COMPOSE.read_text()))
    assert {name for name in asked if name.endswith("PASSWORD")} == asked
    assert asked == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "SERVER_PASSWORD"}
    assert len(re.findall(r"\$\{\w+PASSWORD(?!:\?)", COMPOSE.read_text())) == 0
    assert {"SECRET_KEY", "LEDGER_KEY"}.isdisjoint(WEB["environment"])


def test_the_composition_serves_by_a_role_that_does_not_own_the_tables():
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
    [default] = re.findall(r"^ARG PYTHON_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE)
    assert WEB["build"]["args"] == {"PYTHON_IMAGE": f"${{PYTHON_IMAGE:-{default}}}"}
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    guide = (settings.BASE_DIR / "docs" / "operating.md").read_text()
    assert all(f"{name}_IMAGE=" in guide for name in ("PYTHON", "POSTGRES", "REDIS"))


def test_the_cache_asks_for_a_password():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert "--requirepass ${REDIS_PASSWORD:?}" in services["cache"]["command"]
    assert WEB["environment"]["REDIS_URL"].startswith("redis://:${REDIS_PASSWORD:?}@")


def test_the_server_starts_with_what_the_composition_says():
    told = {name: re.sub(r"\$\{\w+:\?\}", "x", value) for name, value in WEB["environment"].items()}
    assert set(told) <= set(ENVIRONMENT)
    code = "from almaFintech.wsgi import application; print('started')"
    # The database of the composition is not there, which a server survives.
    started = python("-c", code, **SECRETS | told | {"DATABASE_TIMEOUT": "1"})
    assert started.stdout == "started\n", started.stderr


@pytest.mark.skipif(
    not compose() and "CI" not in os.environ, reason="Docker Compose is not installed"
)
def test_compose_understands_the_composition(tmp_path):
    for file in COMPOSE, settings.BASE_DIR / "Dockerfile":
        shutil.copy(file, tmp_path)
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))

    config = subprocess.run(
        [*compose(), "config", "--quiet"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (config.returncode, config.stderr) == (0, "")
