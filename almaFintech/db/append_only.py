"""Triggers by which the database itself refuses to change or delete the rows of a table.

They bind every program that reaches the database, this one included. PostgreSQL's also refuse
TRUNCATE. MariaDB has no trigger for that, so there the server's user should lack DROP.
"""

from collections.abc import Iterable

from django.db.backends.base.schema import BaseDatabaseSchemaEditor


class AppendOnly:
    """The triggers of one table: `install` and `remove` are the two ways of a migration.

    unique: columns of another unique key than `id`.
    """

    def __init__(self, table: str, what: str, unique: Iterable[str]) -> None:
        self.table = table
        self.unique = tuple(unique)
        self.message = f"{what} are append only"

    def install(self, apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
        vendor = schema_editor.connection.vendor
        self._execute(schema_editor, getattr(self, f"_install_on_{vendor}")())

    def remove(self, apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
        on_postgresql = schema_editor.connection.vendor == "postgresql"
        statements = (
            [
                f"DROP TRIGGER {self.table}_append_only ON {self.table}",
                f"DROP FUNCTION {self.table}_append_only()",
            ]
            if on_postgresql
            else [f"DROP TRIGGER {name}" for name in self._names(schema_editor.connection.vendor)]
        )
        self._execute(schema_editor, statements)

    def _names(self, vendor: str) -> list[str]:
        events = ["update", "delete", *(["replace"] if vendor == "sqlite" else [])]
        return [f"{self.table}_no_{event}" for event in events]

    # Errors of the classes that Django turns into an IntegrityError.

    def _install_on_postgresql(self) -> list[str]:
        return [
            f"""
            CREATE FUNCTION {self.table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION '{self.message}' USING ERRCODE = 'restrict_violation'; END $$
            """,
            f"""
            CREATE TRIGGER {self.table}_append_only
            BEFORE UPDATE OR DELETE OR TRUNCATE ON {self.table}
            FOR EACH STATEMENT EXECUTE FUNCTION {self.table}_append_only()
            """,
        ]

    def _install_on_mysql(self) -> list[str]:
        return [
            f"""
            CREATE TRIGGER {self.table}_no_{event} BEFORE {event} ON {self.table} FOR EACH ROW
            SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 4025, MESSAGE_TEXT = '{self.message}'
            """
            for event in ("update", "delete")
        ]

    def _install_on_sqlite(self) -> list[str]:
        same = " AND ".join(f"{column} = NEW.{column}" for column in self.unique)
        return [
            *[
                f"""
                CREATE TRIGGER {self.table}_no_{event} BEFORE {event} ON {self.table}
                BEGIN SELECT RAISE(ABORT, '{self.message}'); END
                """
                for event in ("update", "delete")
            ],
            # INSERT OR REPLACE deletes the row in its way without asking the trigger above.
            f"""
            CREATE TRIGGER {self.table}_no_replace BEFORE INSERT ON {self.table}
            WHEN EXISTS (SELECT 1 FROM {self.table} WHERE id = NEW.id OR ({same}))
            BEGIN SELECT RAISE(ABORT, '{self.message}'); END
            """,  # noqa: S608
        ]

    @staticmethod
    def _execute(schema_editor: BaseDatabaseSchemaEditor, statements: list[str]) -> None:
        with schema_editor.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
