"""Triggers by which the database itself refuses to change or delete an entry.

They bind every program that reaches the database, this one included. PostgreSQL's also refuse
TRUNCATE. MariaDB has no trigger for that, so there the server's user should lack DROP.
"""

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

MESSAGE = "entries are append only"

# Errors of the classes that Django turns into an IntegrityError.
INSTALL = {
    "postgresql": [
        f"""
        CREATE FUNCTION accounts_entry_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'restrict_violation'; END $$
        """,
        """
        CREATE TRIGGER accounts_entry_append_only
        BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_entry
        FOR EACH STATEMENT EXECUTE FUNCTION accounts_entry_append_only()
        """,
    ],
    "mysql": [
        f"""
        CREATE TRIGGER accounts_entry_no_{event} BEFORE {event} ON accounts_entry FOR EACH ROW
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 4025, MESSAGE_TEXT = '{MESSAGE}'
        """
        for event in ("update", "delete")
    ],
    "sqlite": [
        *[
            f"""
            CREATE TRIGGER accounts_entry_no_{event} BEFORE {event} ON accounts_entry
            BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
            """
            for event in ("update", "delete")
        ],
        # INSERT OR REPLACE deletes the row in its way without asking the trigger above.
        f"""
        CREATE TRIGGER accounts_entry_no_replace BEFORE INSERT ON accounts_entry
        WHEN EXISTS (
            SELECT 1 FROM accounts_entry
            WHERE id = NEW.id OR (account_id = NEW.account_id AND seq = NEW.seq)
        )
        BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
        """,  # noqa: S608
    ],
}

REMOVE = {
    "postgresql": [
        "DROP TRIGGER accounts_entry_append_only ON accounts_entry",
        "DROP FUNCTION accounts_entry_append_only()",
    ],
    "mysql": [f"DROP TRIGGER accounts_entry_no_{event}" for event in ("update", "delete")],
    "sqlite": [
        f"DROP TRIGGER accounts_entry_no_{event}" for event in ("update", "delete", "replace")
    ],
}


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _execute(schema_editor.connection, INSTALL)


def remove(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _execute(schema_editor.connection, REMOVE)


def _execute(connection: BaseDatabaseWrapper, statements: dict[str, list[str]]) -> None:
    with connection.cursor() as cursor:
        for statement in statements[connection.vendor]:
            cursor.execute(statement)
