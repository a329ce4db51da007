"""The gateway between granian, which does its I/O without threads, and Django, which needs them.

A request gets a thread, and with it a database connection, once it has arrived completely, and
keeps it until its response is complete: clients that send or read slowly hold neither. Each worker
runs a bounded number of requests and lets a bounded number wait. The probes have their own
threads, so that they respond while all others are busy.
"""

import asyncio
import faulthandler
import io
import json
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any

from django.conf import settings
from django.db import close_old_connections
from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope

from almaFintech.middleware.probes import PROBES
from almaFintech.middleware.requests import REJECTIONS
from almaFintech.refusals import Busy, RequestTimeout
from almaFintech.server.threads import Threads

logger = logging.getLogger(__name__)

# Seconds for a whole body to arrive, and for a thread to become free.
BODY_SECONDS = 10
QUEUE_SECONDS = 10
QUEUE_PER_THREAD = 32
# Bodies of at most the first number of bytes are always accepted; larger ones share the second.
SMALL_BODY_BYTES = 16 * 1024
LARGE_BODIES_BYTES = 64 * 1024 * 1024
# Larger responses are kept in a file instead of in memory.
ANSWER_BYTES = 512 * 1024
# granian opens the file of a response a little later, and does not report when it has.
FILE_SECONDS = 30
# A worker whose event loop is stuck for longer is ended.
STUCK_SECONDS = 30
BEAT_SECONDS = 2

Environ = dict[str, Any]
WSGIApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    # A file if it is larger than ANSWER_BYTES.
    body: bytes | IO[bytes]


def threads_of(name: str, number: int) -> Threads:
    length = number * QUEUE_PER_THREAD
    return Threads(name, number, queue_length=length, seconds=QUEUE_SECONDS)


class Gateway:
    """An RSGI application that runs a WSGI application in `threads` threads."""

    def __init__(self, application: WSGIApplication, threads: int) -> None:
        self.application = application
        self.threads = threads_of("request", threads)
        self.probes = {path: threads_of(path, 1) for path in PROBES}
        self.large_bodies = 0

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Its thread needs no interpreter lock, so it also ends code that never releases the lock.
        faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
        parent = multiprocessing.parent_process()
        if parent and os.getppid() != parent.pid:
            # The first process was killed, and nothing else would stop this one.
            os.kill(os.getpid(), signal.SIGTERM)
        loop.call_later(BEAT_SECONDS, self.__rsgi_init__, loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        faulthandler.cancel_dump_traceback_later()
        # The clients of requests that still run have gone, but a transaction is not cut off.
        for threads in (self.threads, *self.probes.values()):
            threads.stop()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        try:
            answer = await self.answer(scope, protocol)
        except (Busy, RequestTimeout) as rejection:
            answer = rejection_of(rejection)
        except ProtocolClosed:
            # The client is gone.
            return
        except Exception:
            logger.exception("A request failed outside Django")
            answer = Answer(500, [], b"")
        if isinstance(answer.body, bytes):
            protocol.response_bytes(answer.status, answer.headers, answer.body)
        else:
            protocol.response_file(answer.status, answer.headers, f"/dev/fd/{answer.body.fileno()}")
            asyncio.get_running_loop().call_later(FILE_SECONDS, answer.body.close)

    async def answer(self, scope: Scope, protocol: HTTPProtocol) -> Answer:
        environ = environ_of(scope)
        if probe := self.probes.get(environ["PATH_INFO"]):
            return await probe.call(self.run, environ)
        # 0 also for bodies that are too long or of unknown length: Django refuses them unread.
        length = body_length(environ)
        large = length if length > SMALL_BODY_BYTES else 0
        if self.large_bodies + large > LARGE_BODIES_BYTES:
            raise Busy
        self.large_bodies += large
        try:
            if length:
                environ["wsgi.input"] = io.BytesIO(await read_body(protocol))
            return await self.threads.call(self.run, environ)
        finally:
            self.large_bodies -= large

    def run(self, environ: Environ) -> Answer:
        """Call the application, and return its complete response."""
        started: list[Any] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: object = None
        ) -> None:
            started[:] = int(status.split(" ", 1)[0]), headers

        response = self.application(environ, start_response)
        try:
            body = body_of(response)
            status, headers = started
            if not isinstance(body, bytes) and not declares_length(headers):
                headers = [*headers, ("Content-Length", str(body.tell()))]
            return Answer(status, headers, body)
        finally:
            if close := getattr(response, "close", None):
                close()
            close_old_connections()


def body_of(response: Iterable[bytes]) -> bytes | IO[bytes]:
    """Return the whole body: as bytes, or in a file that is at its end."""
    chunks = iter(response)
    first: list[bytes] = []
    length = 0
    for chunk in chunks:
        first.append(chunk)
        length += len(chunk)
        if length > ANSWER_BYTES:
            break
    else:
        return b"".join(first)
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.writelines(first)
    file.writelines(chunks)
    # granian opens it by its descriptor.
    file.flush()
    return file


def declares_length(headers: list[tuple[str, str]]) -> bool:
    return any(name.lower() == "content-length" for name, _ in headers)


def rejection_of(error: Busy | RequestTimeout) -> Answer:
    """Return the response to a request that does not reach Django."""
    REJECTIONS.labels(error.default_code).inc()
    headers = [
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *error.headers().items(),
    ]
    if isinstance(error, RequestTimeout):
        # The rest of the body may still arrive, and is not the next request.
        headers.append(("Connection", "close"))
    return Answer(error.status_code, headers, json.dumps(error.body()).encode())


def environ_of(scope: Scope) -> Environ:
    """Return the environment (PEP 3333) of a request without a body."""
    server, _, port = scope.server.rpartition(":")
    client, _, _ = scope.client.rpartition(":")
    environ: Environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": server.strip("[]"),
        "SERVER_PORT": port,
        "REMOTE_ADDR": client.strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        # X_Forwarded_For would look like the X-Forwarded-For that a proxy has set.
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def body_length(environ: Environ) -> int:
    """Return the number of bytes of a body to read; 0 also for one that Django refuses unread."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        environ.pop("CONTENT_LENGTH", None)
    declared = environ.get("CONTENT_LENGTH", "")
    if declared.startswith("0"):
        # Python refuses to parse thousands of digits, even zeros.
        declared = environ["CONTENT_LENGTH"] = declared.lstrip("0") or "0"
    length = int(declared) if declared.isdecimal() else 0
    return length if length <= settings.MAX_BODY_BYTES else 0


async def read_body(protocol: HTTPProtocol) -> bytes:
    """Return the whole body; raises RequestTimeout if it does not arrive in time."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await protocol()
    except TimeoutError:
        raise RequestTimeout from None
