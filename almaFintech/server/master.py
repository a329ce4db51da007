"""The first process of a production server: it listens, and keeps the workers running.

`python -m almaFintech.server` becomes this process. It does not load the application, so workers
that are started on SIGHUP load the current code.
"""

import atexit
import fcntl
import itertools
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder
from granian.server.mp import MPServer, WorkerProcess

from almaFintech import EXIT_STATUS
from almaFintech.server.logs import logging_config

# Seconds for the headers of a request, and between the requests of a connection.
HEADER_SECONDS = 10
HEADER_BYTES = 32 * 1024
# A client that reads nothing of its response for this time is gone.
UNREAD_SECONDS = 20
# Seconds for running requests to finish when the server stops.
STOP_SECONDS = 30
BACKLOG = 1024


class Master(MPServer):
    """granian with sockets that outlive workers; it stops when the workers refuse to start."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # One for each worker, unless they share a Unix socket. This process keeps them open, so a
        # worker that dies leaves its queue to its successor.
        self.listeners: list[tuple[socket.socket, SocketHolder]] = []

    def _init_shared_socket(self) -> None:
        if self.bind_uds:
            # A server that was killed has left it behind.
            if self.bind_uds.is_socket():
                self.bind_uds.unlink()
            super()._init_shared_socket()
            return
        self._ssp = None
        for listener in listen(self.bind_addr, self.bind_port, self.workers):
            holder = SocketHolder(listener.fileno(), False, BACKLOG)  # type: ignore[call-arg]
            self.listeners.append((listener, holder))
        os.register_at_fork(after_in_child=self._keep_own_socket)

    def _keep_own_socket(self) -> None:
        """Close the sockets of the other workers in a new worker, or they would outlive those."""
        for listener, _ in self.listeners:
            if listener is not self._sso:
                listener.close()

    def _spawn_worker(self, idx: int, *args: Any, **options: Any) -> WorkerProcess:
        if self.listeners:
            self._sso, self._shd = self.listeners[idx % len(self.listeners)]  # type: ignore[assignment]
        return super()._spawn_worker(idx, *args, **options)

    def _drop_shared_socket(self) -> None:
        super()._drop_shared_socket()
        for listener, _ in self.listeners:
            listener.close()

    def _respawn_workers(self, workers: list[int], *args: Any, **options: Any) -> None:
        if any(self.wrks[index].inner.exitcode == EXIT_STATUS for index in workers):
            # The worker has printed the reason, and the next one would print the same.
            self.interrupt_children.extend(workers)
            self.signal_handler_interrupt()
            return
        super()._respawn_workers(workers, *args, **options)

    def shutdown(self, exit_code: int = 0) -> None:
        refused = any(worker.inner.exitcode == EXIT_STATUS for worker in self.wrks)
        super().shutdown(EXIT_STATUS if refused else exit_code)


def listen(host: str, port: int, number: int) -> list[socket.socket]:
    """Return sockets of one address, over which the kernel spreads new connections.

    Workers that accept from one socket do not share the work: the first to wake up takes every
    connection that waits. Only Linux spreads them, so elsewhere there is one socket.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listeners: list[socket.socket] = []
    for _ in range(number if sys.platform == "linux" else 1):
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The connections inherit these.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        if listeners:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        if not listeners:
            # The first allows others only now that it listens: another server's first is refused.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            address = listener.getsockname()
        listener.set_inheritable(True)
        listeners.append(listener)
    return listeners


def load() -> Any:
    """Load the application in a new worker."""
    # The inherited handlers would ignore a stop while this process loads.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    claim_slot()
    from almaFintech.wsgi import application

    # isort: split
    # These need Django, which the entry point has set up.
    from django.conf import settings

    from almaFintech.server.gateway import Gateway

    return Gateway(application, settings.SERVE_THREADS)


def claim_slot() -> None:
    """Continue the metrics files of a worker that has ended, if there is one.

    This way there are never more files than concurrent workers, and no count is lost. Call it
    before the first metric is created.
    """
    from prometheus_client import values

    folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
    for slot in itertools.count(1):
        # The file stays open, and so locked, until this process ends, however it ends.
        file = os.open(f"{folder}/slot-{slot}", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        values.ValueClass = values.MultiProcessValue(partial(int, slot))
        return


def create_metrics_folder() -> None:
    """Create the folder of the files through which the workers share their metrics."""
    folder = tempfile.mkdtemp(prefix=f"almafintech-metrics-{os.getpid()}-")
    owner = os.getpid()

    def remove() -> None:
        # The workers inherit this function, and must not remove the folder.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def main(address: str, workers: int) -> None:
    """Serve at `address` (host:port or unix:/path) until SIGTERM."""
    create_metrics_folder()
    # Connections and files of responses may exceed the usual limit of 1024 descriptors.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4 * BACKLOG), most))
    where: dict[str, Any]
    if address.startswith("unix:"):
        where = {"uds": Path(address.removeprefix("unix:"))}
    else:
        host, _, port = address.rpartition(":")
        where = {"address": host.strip("[]"), "port": int(port)}
    server = Master(
        "almaFintech",
        **where,
        interface=Interfaces.RSGI,
        workers=workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=HEADER_BYTES
        ),
        websockets=False,
        backlog=BACKLOG,
        backpressure=BACKLOG,
        log_dictconfig=logging_config(debug=False),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    )
    try:
        server.serve(target_loader=load, wrap_loader=False)
    except OSError as error:
        print(f"almaFintech does not start: it cannot listen at {address}:", error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
