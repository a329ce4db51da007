"""Indexes on Django's own table of users, by which lists of users are filtered.

Each ends in the id, which is the order of the list. The username has an index already.
"""

from django.db import migrations, models

INDEXES = [
    models.Index(fields=["email", "id"], name="login_user_email_id"),
    models.Index(fields=["is_staff", "id"], name="login_user_is_staff_id"),
    models.Index(fields=["is_active", "id"], name="login_user_is_active_id"),
]


def add(apps, schema_editor):
    # Not by AddIndex: that would write to the history of an app that is Django's.
    user = apps.get_model("auth", "User")
    for index in INDEXES:
        schema_editor.add_index(user, index)


def remove(apps, schema_editor):
    user = apps.get_model("auth", "User")
    for index in INDEXES:
        schema_editor.remove_index(user, index)


class Migration(migrations.Migration):
    dependencies = [
        ("login", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]
    # Not in a transaction of its own, in which MariaDB could not change a table.
    operations = [migrations.RunPython(add, remove, atomic=False)]
