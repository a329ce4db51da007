"""Reading of the settings from the environment, from `.env` and from defaults."""

import os
import re
import subprocess

import pytest
from django.core.exceptions import ImproperlyConfigured

from almaFintech.server.environment import Environment, workers_for_the_cores
from almaFintech.settings import BASE_DIR, ENVIRONMENT
from almaFintech.tests.servers import PRODUCTION, evaluate, python

EXAMPLE = (BASE_DIR / ".env.example").read_text()


def test_the_example_lists_every_variable_with_its_default():
    listed = dict(re.findall(r"^#(\w+)=(.*)$", EXAMPLE, re.MULTILINE))

    env = Environment(**ENVIRONMENT)
    env.ENVIRON = listed
    assert {name: env(name) for name in listed} == {
        name: default for name, (_, default) in ENVIRONMENT.items()
    }
    # In the order of settings.py.
    assert list(listed) == list(ENVIRONMENT)


def test_the_example_explains_every_variable_and_sets_none():
    paragraphs = [paragraph.splitlines() for paragraph in EXAMPLE.strip().split("\n\n")]

    assert all(line.startswith("#") for lines in paragraphs for line in lines)
    for explanation, _variable in paragraphs[1:]:
        assert re.fullmatch(r"# .+\.", explanation)


@pytest.mark.server
def test_the_suite_runs_without_these_variables():
    recipe = subprocess.run(
        ["make", "--dry-run", "test-sqlite"],
        cwd=BASE_DIR,
        # Without the variables of the make process that runs this test.
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert set(re.findall(r"-u (\w+)", recipe)) == set(ENVIRONMENT)


@pytest.mark.parametrize(("cores", "processes"), [(1, 2), (2, 2), (3, 3), (5, 5), (64, 5)])
def test_the_cores_decide_the_number_of_workers(monkeypatch, cores, processes):
    # The process may use some cores of a larger machine.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 100)
    assert workers_for_the_cores() == processes

    # Not all systems can limit a process, or know their cores.
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert workers_for_the_cores() == processes
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert workers_for_the_cores() == 2


@pytest.mark.server
def test_the_number_of_workers_may_be_set():
    assert evaluate("s.SERVE_WORKERS") == workers_for_the_cores()
    assert evaluate("s.SERVE_WORKERS", SERVE_WORKERS="") == workers_for_the_cores()
    assert evaluate("s.SERVE_WORKERS", SERVE_WORKERS="11") == 11


@pytest.mark.server
def test_production_is_strict():
    assert evaluate(
        "[len(s.AUTH_PASSWORD_VALIDATORS), s.SECURE_SSL_REDIRECT, s.SECURE_HSTS_SECONDS,"
        " s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE]",
        **PRODUCTION,
    ) == [4, True, 31_536_000, True, True]


@pytest.mark.server
def test_access_tokens_live_longer_in_development_unless_set():
    minutes = "s.SIMPLE_JWT['ACCESS_TOKEN_LIFETIME'].total_seconds() / 60"

    assert evaluate(minutes) == 60
    assert evaluate(minutes, ACCESS_TOKEN_MINUTES="7") == 7
    assert evaluate(minutes, **PRODUCTION) == 5


@pytest.mark.server
def test_development_needs_no_settings():
    assert evaluate(
        "[s.DEBUG, s.AUTH_PASSWORD_VALIDATORS, s.SECURE_SSL_REDIRECT, s.SECURE_HSTS_SECONDS,"
        " s.SESSION_COOKIE_SECURE, s.DATABASES['default']['NAME'], len(s.SECRET_KEY) >= 50]"
    ) == [True, [], False, 0, False, str(BASE_DIR / "db.sqlite3"), True]


@pytest.mark.server
def test_settings_can_come_from_a_file(tmp_path):
    file = tmp_path / "env"
    file.write_text("ACCESS_TOKEN_MINUTES=7\nREFRESH_TOKEN_DAYS=8\nROTATE_REFRESH_TOKENS=true\n")

    # The environment takes precedence over the file.
    assert evaluate(
        "[s.SIMPLE_JWT['ACCESS_TOKEN_LIFETIME'].seconds,"
        " s.SIMPLE_JWT['REFRESH_TOKEN_LIFETIME'].days, s.SIMPLE_JWT['ROTATE_REFRESH_TOKENS']]",
        ENV_FILE=str(file),
        REFRESH_TOKEN_DAYS="9",
    ) == [420, 9, True]


@pytest.mark.server
@pytest.mark.parametrize(
    "line",
    [
        *("TRUSTED_PROXIES = 1", "TRUSTED_PROXIES= 1", "TRUSTED_PROXIES =1", " TRUSTED_PROXIES=1"),
        *("TRUSTED_PROXIES=1 ", "TRUSTED_PROXIES", "=1", "TRUSTED-PROXIES=1", "a secret"),
    ],
)
def test_a_malformed_line_is_refused_with_its_number(tmp_path, line):
    file = tmp_path / "env"
    file.write_text(f"# With = and spaces.\n  # So is this.\n   \n{line}\n")

    result = python("-c", "import almaFintech.wsgi", **PRODUCTION, ENV_FILE=str(file))

    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == (
        f"almaFintech does not start: {file}, line 4: write NAME=value, without spaces before the "
        "name, around = or after the value.\n"
    )


def test_the_values_of_a_file_are_literal(tmp_path, monkeypatch):
    monkeypatch.setattr(Environment, "ENVIRON", {})
    file = tmp_path / "env"
    file.write_text("A=1\nexport B='two words '\nC=\n#D=4\nE=a = b\n")

    Environment.read_file(file)

    assert Environment.ENVIRON == {"A": "1", "B": "two words ", "C": "", "E": "a = b"}


@pytest.mark.parametrize("content", [None, b"A=\xff\n"])
def test_an_unreadable_file_is_refused(tmp_path, content):
    file = tmp_path / "env"
    file.mkdir() if content is None else file.write_bytes(content)

    with pytest.raises(ImproperlyConfigured, match="cannot be read: "):
        Environment.read_file(file)


def test_a_missing_mariadb_driver_is_reported_with_its_remedy(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    env = Environment(**ENVIRONMENT)
    env.ENVIRON = {"DATABASE_URL": "mysql://wallet@host/wallet"}

    with pytest.raises(ImproperlyConfigured, match=r"-r requirements/mariadb\.txt$"):
        env.db("DATABASE_URL")


@pytest.mark.parametrize("name", ["SECRET_KEY", "METRICS_TOKEN"])
def test_a_value_that_begins_with_a_dollar_is_literal(name):
    env = Environment(**ENVIRONMENT)
    # django-environ would read it as the name of another variable.
    env.ENVIRON = {name: "$DEBUG", "DEBUG": "true"}

    assert env(name) == "$DEBUG"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("DEBUG", "flase", "must be true or false, and not 'flase'."),
        ("DEBUG", "", "must be true or false, and not ''."),
        ("ACCESS_TOKEN_MINUTES", "five", "must be 0 or more, and not 'five'."),
        ("ACCESS_TOKEN_MINUTES", "0", "must be 1 or more, and not '0'."),
        ("TRUSTED_PROXIES", "-1", "must be 0 or more, and not '-1'."),
        ("DATABASE_TIMEOUT", "86401", "must be 86400 or less, and not '86401'."),
        ("ACCESS_TOKEN_MINUTES", "52560001", "must be 52560000 or less, and not '52560001'."),
        ("REFRESH_TOKEN_DAYS", "36501", "must be 36500 or less, and not '36501'."),
        ("IDEMPOTENCY_KEY_DAYS", "36501", "must be 36500 or less, and not '36501'."),
        *(
            ("SERVE_ADDRESS", value, f"must be address:port or unix:/path, and not {value!r}.")
            for value in (
                "",
                "foo",
                "foo:bar",
                "127.0.0.1",
                "::1:8000",
                "[::1]",
                "a:65536",
                "unix:",
            )
        ),
    ],
)
def test_an_invalid_value_is_refused_with_the_name_of_its_variable(name, value, reason):
    env = Environment(**ENVIRONMENT)
    env.ENVIRON = {name: value}

    with pytest.raises(ImproperlyConfigured, match=f"^{name} {re.escape(reason)}$"):
        env(name)


@pytest.mark.parametrize("value", ["127.0.0.1:8000", "localhost:1", "[::1]:80", "unix:/run/wallet"])
def test_a_valid_address_is_accepted_unchanged(value):
    env = Environment(**ENVIRONMENT)
    env.ENVIRON = {"SERVE_ADDRESS": value}

    assert env("SERVE_ADDRESS") == value


@pytest.mark.parametrize(
    "url",
    [
        *("", "wallet.sqlite3", "/var/lib/wallet", "postgre://host/name"),
        *("oracle://user:cret@host/name", "mssql://host/name", "cockroachdb://host/name"),
        *("postgres://", "postgres://wallet@host", "mysql://host/"),
        *("postgres://host:abc/name", "postgres://host:65536/name"),
        # A password with a slash.
        "postgres://wallet:se/cret@host/name",
    ],
)
def test_a_malformed_database_url_is_refused(url):
    env = Environment(**ENVIRONMENT)
    env.ENVIRON = {"DATABASE_URL": url}

    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL must be a URL such as") as error:
        env.db("DATABASE_URL")
    assert "cret" not in str(error.value)


def test_a_database_url_may_name_a_service():
    env = Environment(**ENVIRONMENT)
    env.ENVIRON = {"DATABASE_URL": "postgres://?service=wallet"}

    assert env.db("DATABASE_URL")["OPTIONS"] == {"service": "wallet"}
