"""Limits on the size of bodies; larger ones are refused before anything reads them."""

import asyncio
import http.client
import json
import socket

import pytest
from django.core.asgi import get_asgi_application

from accounts.models import Transfer
from almaFintech.middleware.bodies import bounded
from almaFintech.settings import ENVIRONMENT
from almaFintech.tests.servers import Server

TOO_LARGE = {"detail": "The body may have at most 1000 bytes.", "code": "body_too_large"}


@pytest.fixture
def small(settings):
    settings.MAX_BODY_BYTES = 1000


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/api/login/", "application/json"),
        ("/api/transfers/", "application/json"),
        ("/api/users/", "application/x-www-form-urlencoded"),
        ("/api/users/", "multipart/form-data; boundary=x"),
        ("/api/nowhere/", "text/plain"),
    ],
)
def test_a_large_body_gets_413_whatever_its_type(small, anyone, path, content_type):
    response = anyone.generic("POST", path, b"x" * 1001, content_type=content_type)

    assert (response.status_code, response.json()) == (413, TOO_LARGE)


def test_a_body_of_the_maximum_size_is_read(small, anyone):
    response = anyone.generic("POST", "/api/login/", b"x" * 1000, content_type="application/json")

    assert (response.status_code, response.json()["code"]) == (400, "parse_error")


def test_pages_show_the_message_as_text(small, client):
    response = client.post("/admin/login/", {"username": "x" * 1000})

    assert (response.status_code, response.content.decode()) == (413, TOO_LARGE["detail"])


def test_the_largest_batch_fits(alice, bob, settings):
    assert ENVIRONMENT["MAX_BODY_BYTES"][1] == settings.MAX_BODY_BYTES
    # Each of these characters takes 12 bytes of JSON.
    reference = "\N{COW FACE}" * 140
    transfer = {
        "origin": alice.account.pk,
        "destination": bob.account.pk,
        "balance": 1,
        "reference": reference,
    }
    body = json.dumps({"transfers": [transfer] * 1000}, indent=2)
    assert len(body) > 1_700_000

    response = alice.post("/api/transfers/batch/", body)

    assert (response.status_code, len(response.json())) == (201, 1000)
    assert {*Transfer.objects.values_list("reference", flat=True)} == {reference}
    assert (alice.balance, bob.balance) == (999_000, 1000)


@pytest.mark.parametrize("length", ["", "abc", "-1", "1e9", "\N{SUPERSCRIPT TWO}"])
def test_an_invalid_length_means_an_empty_body(small, anyone, length):
    response = anyone.generic(
        "POST",
        "/api/login/",
        b"x" * 5000,
        content_type="application/json",
        CONTENT_LENGTH=length,
    )

    assert response.status_code == 400


def test_a_body_of_undeclared_length_gets_411(anyone):
    chunked = {"Transfer-Encoding": "chunked"}

    response = anyone.generic("POST", "/api/login/", b"{}", CONTENT_LENGTH="", headers=chunked)

    assert (response.status_code, response.json()["code"]) == (411, "length_required")


# --- With a real server --------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server that accepts bodies of at most 1000 bytes."""
    folder = tmp_path_factory.mktemp("bodies")
    settings = {
        "DATABASE_URL": f"sqlite:///{folder}/wallet.sqlite3",
        "ALLOWED_HOSTS": "127.0.0.1,wallet.example",
        "MAX_BODY_BYTES": "1000",
        "SERVE_WORKERS": "1",
    }
    with Server(folder / "log", **settings) as server:
        yield server.address


def send(address, headers, body):
    """Send a raw request, and return the status and the JSON of the response."""
    with socket.create_connection(address, timeout=60) as connection:
        head = {"Host": "127.0.0.1", "Content-Type": "application/json"} | headers
        lines = ["POST /api/login/ HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.sendall(body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())


@pytest.mark.server
def test_a_server_refuses_a_large_body_before_it_arrives(server):
    # Not one byte of the body is sent.
    assert send(server, {"Content-Length": "1000000000"}, b"") == (413, TOO_LARGE)


@pytest.mark.server
def test_a_server_refuses_a_large_body(server):
    assert send(server, {"Content-Length": "500000"}, b"x" * 500_000) == (413, TOO_LARGE)


@pytest.mark.server
def test_a_server_reads_a_length_with_any_number_of_zeros(server):
    status, answer = send(server, {"Content-Length": "0" * 5000 + "2"}, b"{}")

    assert (status, answer["username"]) == (400, ["This field is required."])


@pytest.mark.server
def test_a_server_reads_only_the_declared_length(server):
    status, answer = send(server, {"Content-Length": "2"}, b"{}" + b"x" * 5000)

    assert (status, answer["username"]) == (400, ["This field is required."])


@pytest.mark.server
def test_a_server_refuses_a_chunked_body(server):
    chunks = b"3e8\r\n" + b"x" * 1000 + b"\r\n"

    status, answer = send(server, {"Transfer-Encoding": "chunked"}, chunks * 2 + b"0\r\n\r\n")

    assert (status, answer["code"]) == (411, "length_required")


# --- ASGI ----------------------------------------------------------------------------------


def ask(chunks):
    """Send a POST in chunks; return the status, the body, and the number of chunks read."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/login/",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"content-type", b"application/json")],
    }
    unread = list(chunks)
    sent = []

    async def receive():
        if not unread:
            await asyncio.Event().wait()
        body = unread.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(unread)}

    async def send(message):
        sent.append(message)

    async def serve():
        await bounded(get_asgi_application())(scope, receive, send)

    asyncio.run(serve())
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body), len(chunks) - len(unread)


def test_asgi_stops_reading_a_large_body(small):
    status, answer, read = ask([b"x" * 400] * 100)

    assert (status, answer, read) == (413, TOO_LARGE, 3)


def test_asgi_serves_a_small_body(small):
    status, answer, read = ask([b"{", b"}"])

    assert (status, answer["username"], read) == (400, ["This field is required."], 2)
