"""Run a command with a temporary MariaDB: `with_mariadb.py COMMAND [ARG ...]`.

The server is the one installed on the machine (Debian: mariadb-server). It listens only on a
socket, and is removed with its data when the command ends. DATABASE_URL names it. It does not sync
to disk, which suits tests and nothing else.
"""

import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time

START_SECONDS = 60


def main(command: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="almafintech-") as folder:
        socket = f"{folder}/socket"
        settings = [
            "--no-defaults",
            f"--datadir={folder}/data",
            f"--user={pwd.getpwuid(os.getuid()).pw_name}",
        ]
        subprocess.run(
            ["mariadb-install-db", *settings, "--auth-root-authentication-method=normal"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        # By default, MariaDB 10 stores no characters of four bytes.
        charset = "--character-set-server=utf8mb4"
        quick = ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", charset]
        with open(f"{folder}/log", "w") as log:
            server = subprocess.Popen(
                ["mariadbd", *settings, f"--socket={socket}", "--skip-networking", *quick],
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(socket, server)
            url = f"mysql://root@/almafintech?unix_socket={socket}"
            return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}).returncode
        finally:
            server.terminate()
            server.wait()


def wait_for(socket: str, server: subprocess.Popen[bytes]) -> None:
    ping = ["mariadb-admin", "--no-defaults", f"--socket={socket}", "--user=root", "ping"]
    for _ in range(START_SECONDS * 10):
        if server.poll() is not None:
            break
        if subprocess.run(ping, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    raise SystemExit("MariaDB did not start.")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    # The server must not outlive the command.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.environ["PATH"] += ":/usr/sbin"
    sys.exit(main(sys.argv[1:]))
