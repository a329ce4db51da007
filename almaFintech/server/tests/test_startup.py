"""Production servers refuse known and missing secrets, DEBUG and the login admin/admin."""

import re
import subprocess

import pytest

from almaFintech.settings import BASE_DIR
from almaFintech.tests.servers import PRODUCTION, python
from conftest import only_on_postgresql

pytestmark = [only_on_postgresql, pytest.mark.server]

# Keys from earlier versions of this repository.
PUBLISHED = [
    "only-for-the-checks-that-run-under-production-settings-6ba7b810",
    "only-for-tests-6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "only-for-the-crash-test-6ba7b810-9dad-11d1-80b4-00c04fd430c8",
]
KNOWN_SECRET = "django-insecure-6ba7b810-9dad-11d1-80b4-00c04fd430c8-known"
DOWN = "postgres://wallet@127.0.0.1:1/wallet"

entry_points = pytest.mark.parametrize("entry_point", ["wsgi", "asgi"])


def start(entry_point="wsgi", then="print('started')", **environment):
    code = f"from almaFintech.{entry_point} import application; {then}"
    return python("-c", code, **PRODUCTION | environment)


def assert_refused(result, reason):
    # With this exit status of a worker, the master does not start it again.
    assert (result.returncode, result.stdout) == (3, "")
    # One line, and no traceback.
    assert result.stderr.startswith("almaFintech does not start: ")
    assert result.stderr.count("\n") == 1
    assert reason in result.stderr


@entry_points
def test_a_production_server_starts(entry_point):
    result = start(entry_point, DATABASE_URL="sqlite:////nowhere/at/all.sqlite3")

    assert (result.returncode, result.stdout) == (0, "started\n")


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY must be set"),
        ({"DEBUG": "true"}, "DEBUG set to True"),
        ({"DEBUG": "true"}, "Set DEBUG=false."),
        ({"SECRET_KEY": ""}, "`openssl rand -hex 48` makes one"),
        ({"SECRET_KEY": "short"}, "Set it to what `openssl rand -hex 48` prints."),
        ({"DATABASE_URL": "oracle://u:p@host/name"}, "DATABASE_URL must be a URL such as "),
        *(
            (
                {"ALLOWED_HOSTS": host},
                f"ALLOWED_HOSTS must list host names such as wallet.example, "
                f"without scheme, port, path or spaces, and not {host!r}.",
            )
            for host in ("https://wallet.example", "wallet.example:443", "a.example/api", "*.a.b")
        ),
        ({"SECRET_KEY": "short"}, "SECRET_KEY has less than 50 characters"),
        ({"SECRET_KEY": KNOWN_SECRET}, "prefixed with 'django-insecure-'"),
        ({"SECRET_KEY_FALLBACKS": "short"}, "SECRET_KEY_FALLBACKS[0]"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS must not be empty"),
        *(({"SECRET_KEY": key}, "SECRET_KEY was published") for key in PUBLISHED),
        ({"SECRET_KEY_FALLBACKS": PUBLISHED[0]}, "SECRET_KEY_FALLBACKS[0] was published"),
        ({"LEDGER_KEY": ""}, "LEDGER_KEY must be set"),
        ({"LEDGER_KEY": "short"}, "LEDGER_KEY has less than 50 characters"),
        ({"LEDGER_KEY_FALLBACKS": "short"}, "LEDGER_KEY_FALLBACKS[0] has less than 50"),
        ({"LEDGER_KEY": PRODUCTION["SECRET_KEY"]}, "LEDGER_KEY is also a SECRET_KEY"),
        ({"LOGIN_RATE_PER_ADDRESS": "many"}, "LOGIN_RATE_PER_ADDRESS: 'many' is not a rate"),
        ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES must be 0 or more"),
        ({"MAX_BODY_BYTES": "0"}, "MAX_BODY_BYTES must be 1 or more"),
        ({"REDIS_URL": "127.0.0.1:6379"}, "REDIS_URL: Redis URL must specify"),
    ],
)
def test_an_unsafe_setting_is_refused(environment, reason):
    assert_refused(start(**environment), reason)


def test_the_repository_holds_no_key():
    """A key in the tests would sooner or later be used in production."""
    files = subprocess.run(
        # Regardless of the owner of the checkout.
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")[:-1]
    assignment = re.compile(r"""SECRET_KEY\w*["']?\s*[:=]\s*["']?[\w!@#$%^&*()+=-]{50,}""")

    texts = {name: (BASE_DIR / name).read_bytes().decode(errors="replace") for name in files}

    assert "Makefile" in texts
    assert [name for name, text in texts.items() if assignment.search(text)] == []


@entry_points
def test_a_missing_configuration_is_refused(entry_point):
    result = python("-c", f"import almaFintech.{entry_point}")

    assert_refused(result, "DEBUG set to True")
    assert "ALLOWED_HOSTS must not be empty" in result.stderr


def test_the_development_user_is_refused_until_it_has_another_password(tmp_path):
    database = {"DATABASE_URL": f"sqlite:///{tmp_path}/wallet.sqlite3"}
    assert python("manage.py", "migrate", "--verbosity=0", **database).returncode == 0

    assert_refused(start(**database), "`python manage.py changepassword admin` changes it.")

    change = (
        "from django.contrib.auth.models import User; user = User.objects.get();"
        "user.set_password('a quiet river'); user.save()"
    )
    assert python("manage.py", "shell", "-c", change, **database).returncode == 0
    assert start(**database).stdout == "started\n"


def test_a_server_starts_and_answers_503_while_its_database_is_down():
    requests = """
from django.test import Client
client = Client(raise_request_exception=False, headers={"host": "wallet.example"})
login = {"username": "alice", "password": "a quiet river"}
for answer in client.post("/api/login/", login), client.post("/admin/login/", login):
    print(answer.status_code, answer.headers.get("Retry-After"))
"""
    settings = {"DATABASE_URL": DOWN, "DATABASE_TIMEOUT": "1", "SECURE_SSL_REDIRECT": "false"}

    result = start(then=requests, **settings)

    assert (result.returncode, result.stdout) == (0, "503 5\n503 5\n")


def test_workers_inherit_no_database_connection(other_database):
    code = "from django.db import connection; print(connection.connection)"

    result = start(then=code, DATABASE_URL=other_database.url)

    # It did query the database, which has no tables.
    assert "UndefinedTable" in result.stderr
    assert result.stdout == "None\n"


@pytest.mark.parametrize(("entry_point", "seconds"), [("wsgi", "None"), ("asgi", "0")])
def test_connections_live_as_long_as_their_threads(entry_point, seconds):
    code = "from django.db import connection; print(connection.settings_dict['CONN_MAX_AGE'])"

    result = start(entry_point, code, DATABASE_URL=DOWN, DATABASE_TIMEOUT="1")

    assert result.stdout == f"{seconds}\n"


def test_a_setting_of_an_earlier_version_is_ignored():
    result = start(DATABASE_POOL_SIZE="3")

    assert (result.returncode, result.stdout) == (0, "started\n")
