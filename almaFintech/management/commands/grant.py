"""`manage.py grant ROLE`: let a database role run the server without changing history."""

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import connection
from django.db.backends.utils import CursorWrapper

from almaFintech.db.commands import DatabaseCommand

# Rows that are written once. Without the right to change them, and without owning their tables,
# the server's role cannot change them even if somebody injects statements.
APPEND_ONLY = {"accounts_entry", "audit_record"}
READ_ONLY = {"django_migrations"}
WRITES = "SELECT, INSERT, UPDATE, DELETE"


class Command(DatabaseCommand):
    help = (
        "Give a database role the rights that the server needs and no others: it can add ledger "
        "entries and staff records, but can neither change nor delete them, nor change the "
        "schema. Run this as the owner of the tables, after every migrate."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", help="the role (MariaDB: user, or user@host)")
        parser.add_argument(
            "--password-from",
            metavar="VARIABLE",
            help="create the role if it is missing, with the password in this environment variable",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor == "sqlite":
            raise CommandError(
                "SQLite has no roles: the file belongs to those who can write to it."
            )
        role = self.quoted(options["role"])
        quote = connection.ops.quote_name
        with connection.cursor() as cursor:
            if options["password_from"]:
                self.create(cursor, options["role"], role, options["password_from"])
            tables = connection.introspection.table_names(cursor)
            if connection.vendor == "postgresql":
                cursor.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
                cursor.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
                cursor.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
            for table in tables:
                cursor.execute(f"GRANT {rights_on(table)} ON {quote(table)} TO {role}")
        self.stdout.write(f"{options['role']} may run the server on {len(tables)} tables.")

    def create(self, cursor: CursorWrapper, name: str, role: str, variable: str) -> None:
        password = os.environ.get(variable)
        if not password:
            raise CommandError(f"{variable} is empty: it must hold the password of {name}.")
        if connection.vendor == "postgresql":
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            cursor.execute(f"{verb} ROLE {role} LOGIN PASSWORD %s", [password])
        else:
            cursor.execute(f"CREATE USER IF NOT EXISTS {role}")
            # The % of a host name is not a placeholder.
            user = role.replace("%", "%%")
            cursor.execute(f"ALTER USER {user} IDENTIFIED BY %s", [password])

    def quoted(self, role: str) -> str:
        if connection.vendor == "postgresql":
            return connection.ops.quote_name(role)
        user, _, host = role.partition("@")
        return "@".join(f"'{part}'" for part in map(self.plain, (user, host or "%")))

    @staticmethod
    def plain(text: str) -> str:
        if set(text) & set("'\\"):
            raise CommandError("A role name must not contain quotes or backslashes.")
        return text


def rights_on(table: str) -> str:
    if table in READ_ONLY:
        return "SELECT"
    return "SELECT, INSERT" if table in APPEND_ONLY else WRITES
