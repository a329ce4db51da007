"""`manage.py grant ROLE`: let a role of the database run the server, and change no history."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import connection

from almaFintech.commands import DatabaseCommand

# Rows that are written once. Without the right to change them, and without owning their tables,
# the server's role cannot do so even where its statements are not its own.
APPEND_ONLY = {"accounts_entry", "audit_record"}
READ_ONLY = {"django_migrations"}
WRITES = "SELECT, INSERT, UPDATE, DELETE"


class Command(DatabaseCommand):
    help = (
        "Give a role of the database what the server needs and no more: it may add entries of the "
        "ledger and records of staff but neither change nor delete them, and it cannot change the "
        "schema. Run it as the owner of the tables, after every migrate."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", help="an existing role (MariaDB: user, or user@host)")

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor == "sqlite":
            raise CommandError(
                "SQLite has no roles: the file belongs to those who can write to it."
            )
        role = self.quoted(options["role"])
        quote = connection.ops.quote_name
        with connection.cursor() as cursor:
            tables = connection.introspection.table_names(cursor)
            if connection.vendor == "postgresql":
                cursor.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
                cursor.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
                cursor.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
            for table in tables:
                cursor.execute(f"GRANT {rights_on(table)} ON {quote(table)} TO {role}")
        self.stdout.write(f"{options['role']} may run the server on {len(tables)} tables.")

    def quoted(self, role: str) -> str:
        if connection.vendor == "postgresql":
            return connection.ops.quote_name(role)
        user, _, host = role.partition("@")
        return "@".join(f"'{part}'" for part in map(self.plain, (user, host or "%")))

    @staticmethod
    def plain(text: str) -> str:
        if set(text) & set("'\\"):
            raise CommandError("A name of a role has neither quotes nor backslashes.")
        return text


def rights_on(table: str) -> str:
    if table in READ_ONLY:
        return "SELECT"
    return "SELECT, INSERT" if table in APPEND_ONLY else WRITES
