"""Triggers by which the database itself refuses to change or delete entries.

They bind every program that reaches the database, this one included. PostgreSQL's also refuse
TRUNCATE. MariaDB has no trigger for that, so there the server's user should lack DROP.
"""

from django.db import migrations

# The errors are of classes that Django turns into an IntegrityError.
MESSAGE = "entries are append only"
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
        CREATE TRIGGER accounts_entry_no_update BEFORE update ON accounts_entry FOR EACH ROW
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 4025, MESSAGE_TEXT = '{MESSAGE}'
        """,
        f"""
        CREATE TRIGGER accounts_entry_no_delete BEFORE delete ON accounts_entry FOR EACH ROW
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 4025, MESSAGE_TEXT = '{MESSAGE}'
        """,
    ],
    "sqlite": [
        f"""
        CREATE TRIGGER accounts_entry_no_update BEFORE update ON accounts_entry
        BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
        """,
        f"""
        CREATE TRIGGER accounts_entry_no_delete BEFORE delete ON accounts_entry
        BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
        """,
        # INSERT OR REPLACE deletes the row in its way without asking the trigger above.
        f"""
        CREATE TRIGGER accounts_entry_no_replace BEFORE INSERT ON accounts_entry
        WHEN EXISTS (SELECT 1 FROM accounts_entry WHERE id = NEW.id OR (account_id = NEW.account_id AND seq = NEW.seq))
        BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
        """,
    ],
}
REMOVE = {
    "postgresql": [
        "DROP TRIGGER accounts_entry_append_only ON accounts_entry",
        "DROP FUNCTION accounts_entry_append_only()",
    ],
    "mysql": ["DROP TRIGGER accounts_entry_no_update", "DROP TRIGGER accounts_entry_no_delete"],
    "sqlite": [
        "DROP TRIGGER accounts_entry_no_update",
        "DROP TRIGGER accounts_entry_no_delete",
        "DROP TRIGGER accounts_entry_no_replace",
    ],
}


def install(apps, schema_editor):
    execute(schema_editor, INSTALL)


def remove(apps, schema_editor):
    execute(schema_editor, REMOVE)


def execute(schema_editor, statements):
    with schema_editor.connection.cursor() as cursor:
        for statement in statements[schema_editor.connection.vendor]:
            cursor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunPython(install, remove)]
