"""Messages and exit statuses of commands that cannot run."""

import pytest

from almaFintech.settings import BASE_DIR
from almaFintech.tests.servers import python
from conftest import only_on_postgresql

pytestmark = [only_on_postgresql, pytest.mark.server]

DOWN = "CommandError: The database is down: "
NOT_MIGRATED = "CommandError: The database lacks tables: run `python manage.py migrate`. ("
# The exit statuses of commands that exit differently from 1.
STATUS = {"verify_ledger": 2, "restore": 2}


def assert_one_sentence(result, status, text):
    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr.startswith(text)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////nowhere/at/all.sqlite3", "unable to open"),
        # Nothing listens on port 1.
        ("postgres://wallet@127.0.0.1:1/wallet", "connection failed: "),
    ],
)
@pytest.mark.parametrize(
    "command", ["verify_ledger", "expire_idempotency_keys", "expire_tokens", "seed_demo", "start"]
)
def test_commands_report_a_database_that_is_down(command, url, reason):
    result = python("manage.py", command, DATABASE_URL=url)

    assert_one_sentence(result, STATUS.get(command, 1), DOWN + reason)


@pytest.mark.parametrize(
    "command", ["verify_ledger", "expire_idempotency_keys", "expire_tokens", "seed_demo"]
)
def test_commands_report_missing_tables(command, other_database):
    result = python("manage.py", command, DATABASE_URL=other_database.url)

    assert_one_sentence(result, STATUS.get(command, 1), NOT_MIGRATED + 'relation "')


def test_verify_ledger_exits_2_for_refused_settings():
    result = python("manage.py", "verify_ledger", DEBUG="flase")
    assert_one_sentence(result, 2, "DEBUG must be true or false, and not 'flase'.")

    checked = python("manage.py", "verify_ledger", METRICS_ALLOWED="10.0.0.0/33")
    assert (checked.returncode, checked.stdout) == (2, "")
    assert "METRICS_ALLOWED: '10.0.0.0/33' does not appear" in checked.stderr


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"LOGIN_RATE_PER_ADDRESS": "many"}, "LOGIN_RATE_PER_ADDRESS: 'many' is not a rate"),
        ({"REDIS_URL": "127.0.0.1"}, "REDIS_URL: "),
        ({"ALLOWED_HOSTS": "https://wallet.example"}, "ALLOWED_HOSTS must list host names"),
        ({"DEBUG": "flase"}, "DEBUG must be true or false"),
        ({"DATABASE_URL": "oracle://u:p@host/name"}, "DATABASE_URL must be a URL such as "),
    ],
)
def test_a_development_server_reports_a_wrong_setting_and_ends(setting, text, tmp_path):
    database = {"DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3"}

    result = python("manage.py", "start", "127.0.0.1:0", **database | setting)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.removeprefix("CommandError: ").startswith(text)
    assert result.stderr.count("\n") == 1


def test_a_development_server_reports_a_full_disk_and_ends(tmp_path):
    database = {"DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3"}
    assert python("manage.py", "migrate", "--verbosity=0", **database).returncode == 0
    # No file can grow, as on a full disk.
    start = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
        "sys.argv = ['manage.py', 'start', '127.0.0.1:0'];"
        "runpy.run_path('manage.py', run_name='__main__')"
    )

    result = python("-c", start, **database)

    assert_one_sentence(result, 1, "CommandError: The database ")


def test_the_statuses_of_verify_ledger_are_those_of_the_guide(other_database):
    guide = (BASE_DIR / "docs/operating.md").read_text()
    assert (
        "The fourth exits 0 when all is well, 1 when it complains, and 2 when it could not check."
    ) in " ".join(guide.split())

    def status(**environment: str) -> int:
        database = {"DATABASE_URL": other_database.url}
        return python("manage.py", "verify_ledger", **database | environment).returncode

    assert status() == 2
    world = ["--users=1", "--accounts=2", "--transfers=0"]
    for command in ["migrate", "--verbosity=0"], ["seed_demo", *world]:
        assert python("manage.py", *command, DATABASE_URL=other_database.url).returncode == 0
    assert status() == 0
    other_database.execute("UPDATE accounts_account SET balance = balance + 1")
    assert status() == 1
    for wrong in {"DEBUG": "flase"}, {"USER_RATE": "many"}, {"DATABASE_URL": "oracle://a/b"}:
        assert status(**wrong) == 2
