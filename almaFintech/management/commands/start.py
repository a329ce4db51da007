"""`manage.py start`: migrate the database, print the addresses, and serve for development."""

import errno
import os
import socket
from typing import Any

from django.conf import settings
from django.core.checks import ERROR, run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV
from whitenoise.runserver_nostatic.management.commands.runserver import Command as Runserver

from almaFintech.db.commands import DatabaseCommand
from login.development import DEVELOPMENT_PASSWORD, DEVELOPMENT_USER, is_development_user_present

MOST_PORT = 65_535


class Command(DatabaseCommand, Runserver):
    help = "Migrate the database, print the addresses, and serve for development."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("This server is for development. With DEBUG off, run: make serve")
        super().handle(*args, **options)

    def run(self, **options: Any) -> None:
        # In the server's own process: another one would double the start time. The autoreloader
        # runs all of this again in a child, which then has nothing left to do here. If the child
        # fails, the parent waits for an edit, so the parent checks everything first.
        if DJANGO_AUTORELOAD_ENV not in os.environ:
            self.require_settings()
            self.require_port()
            call_command("migrate", verbosity=0)
            require_writable_disk()
            self.welcome()
        super().run(**options)

    def require_settings(self) -> None:
        if errors := [message.msg for message in run_checks() if message.level >= ERROR]:
            raise CommandError(" ".join(errors))

    def require_port(self) -> None:
        """Raise CommandError when nothing can listen at the address."""
        port = int(self.port)
        if port > MOST_PORT:
            raise CommandError(f"The port must be {MOST_PORT} or less, and not {port}.")
        family = socket.AF_INET6 if self.use_ipv6 else socket.AF_INET
        host = self.addr.strip("[]")
        with socket.socket(family) as probe:
            # As the server does, so that connections of an earlier server do not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    other = port + 1 if port < MOST_PORT else 8000
                    text = f"{self.addr}:{port} is in use: PORT={other} make run"
                    raise CommandError(text) from error
                text = f"Nothing can listen at {self.addr}:{port}: {error.strerror}"
                raise CommandError(text) from error

    def welcome(self) -> None:
        site = f"{self.protocol}://{self.addr}:{self.port}"
        user = f"{DEVELOPMENT_USER} / {DEVELOPMENT_PASSWORD}"
        known = f" (development user: {user})" if is_development_user_present() else ""
        self.stdout.write(f"API    {site}/api/")
        self.stdout.write(f"Docs   {site}/api/docs/")
        self.stdout.write(f"Admin  {site}/admin/")
        self.stdout.write(f"Login  POST {site}/api/login/{known}")


def require_writable_disk() -> None:
    """Write to an SQLite file; raises Error if it is read-only or its disk is full.

    Other databases look after their own disks.
    """
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            # Nothing reads this number, so writing it is the smallest change.
            cursor.execute("PRAGMA user_version")
            [version] = cursor.fetchone()
            cursor.execute(f"PRAGMA user_version = {version}")
