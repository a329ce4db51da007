"""Responses of the application, as the gateway passes them on."""

import asyncio

import pytest

from almaFintech.server.gateway import ANSWER_BYTES, Gateway, environ_of
from almaFintech.server.tests.scopes import scope

# The gateway looks at the connections of its thread after each response.
pytestmark = pytest.mark.django_db

SMALL = [
    [],
    [b"one"],
    [b"", b"one", b"two"],
    [b"x" * ANSWER_BYTES],
]
LARGE = [
    [b"x" * ANSWER_BYTES, b"y"],
    [b"first", b"x" * ANSWER_BYTES, b"last"],
    [b"x" * (ANSWER_BYTES + 1)],
]


def answer_to(chunks, *headers):
    def application(environ, start_response):
        start_response("200 OK", [("ETag", '"1"'), *headers])
        return iter(chunks)

    gateway = Gateway(application, 1)
    loop = asyncio.new_event_loop()
    try:
        return gateway.run(environ_of(scope([])))
    finally:
        gateway.__rsgi_del__(loop)
        loop.close()


@pytest.mark.parametrize("chunks", SMALL)
def test_a_small_response_is_kept_in_memory(chunks):
    answer = answer_to(chunks)

    assert (answer.status, answer.headers) == (200, [("ETag", '"1"')])
    assert answer.body == b"".join(chunks)


@pytest.mark.parametrize("chunks", LARGE)
def test_a_large_response_is_in_a_file_with_its_length(chunks):
    whole = b"".join(chunks)
    answer = answer_to(chunks)

    assert answer.headers == [("ETag", '"1"'), ("Content-Length", str(len(whole)))]
    with answer.body, open(f"/dev/fd/{answer.body.fileno()}", "rb") as file:
        assert file.read() == whole


def test_a_declared_length_is_not_repeated():
    declared = ("content-length", str(ANSWER_BYTES + 1))
    answer = answer_to([b"x" * (ANSWER_BYTES + 1)], declared)
    answer.body.close()

    assert answer.headers == [("ETag", '"1"'), declared]
