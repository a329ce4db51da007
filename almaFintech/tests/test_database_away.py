"""A database that is away, or that answers with an error, is no error of the client's."""

import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection


@pytest.fixture
def failing(db):
    """A function that makes every statement from now on raise `error`."""
    wrappers = len(connection.execute_wrappers)

    def fail(error):
        def execute(*args):
            raise error

        connection.execute_wrappers.append(execute)

    yield fail
    del connection.execute_wrappers[wrappers:]


away = pytest.mark.parametrize(
    "error", [OperationalError("server closed the connection"), InterfaceError("is closed")]
)


@away
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/accounts/"),
        ("POST", "/api/transfers/"),
        ("POST", "/api/login/"),
        ("DELETE", "/api/users/1/"),
    ],
)
def test_the_api_answers_503(boss, failing, error, method, path):
    body = {"username": "boss", "password": "x"}
    failing(error)

    response = boss.request(method, path, body)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json() == {
        "detail": "The database is not available. Try again later.",
        "code": "database_unavailable",
    }


@away
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/"),
        ("GET", "/admin/accounts/transfer/"),
        ("POST", "/admin/accounts/account/add/"),
        ("POST", "/admin/login/"),
    ],
)
def test_the_admin_answers_503(boss, client, failing, error, method, path):
    client.force_login(boss.user)
    client.raise_request_exception = False
    failing(error)

    response = client.generic(method, path)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.content == b"The database is not available. Try again later."


def test_the_entry_points_need_no_database(anyone, failing):
    failing(OperationalError())

    assert anyone.get("/api/").status_code == 200
    assert anyone.get("/api/accounts/").status_code == 401


def test_a_value_that_the_database_refuses_is_400(boss, failing):
    failing(DataError("out of range"))

    response = boss.get("/api/accounts/")

    assert response.status_code == 400
    assert response.json() == {
        "detail": "A value cannot be stored in the database.",
        "code": "invalid",
    }


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (DataError("out of range"), 400, b"A value cannot be stored in the database."),
        (IntegrityError("unique"), 409, b"Another request changed the same data at the same time."),
    ],
)
def test_a_page_answers_a_refusal_of_the_database_as_the_api_does(
    client, boss, failing, error, status, text
):
    client.raise_request_exception = False
    failing(error)

    # The login, unlike the pages of the models, turns no errors into messages.
    response = client.post("/admin/login/", {"username": "boss", "password": "x"})

    assert (response.status_code, response.content) == (status, text)
