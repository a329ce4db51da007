"""A temporary Redis for tests that stop and kill it."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis

SERVER = shutil.which("redis-server")
REASON = "redis-server is not installed (Debian: apt-get install redis-server)"


class Redis:
    """A server that listens only on a Unix socket in `folder`, and stores nothing."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.socket"
        self.url = f"unix://{self.socket}"
        self.start()

    def start(self) -> None:
        if SERVER is None:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(REASON)
        options = {"port": "0", "unixsocket": str(self.socket), "save": "", "appendonly": "no"}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [SERVER, *words], cwd=self.socket.parent, stdout=subprocess.DEVNULL
        )
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            for _ in range(200):
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    time.sleep(0.05)
        pytest.fail("redis-server does not answer")

    def hang(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
