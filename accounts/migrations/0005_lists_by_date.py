"""Indexes in the order of the lists, one for each way to find accounts and transfers.

The new ones come first: at no moment is a list without an index, and MariaDB keeps one on every
foreign key.
"""

from django.db import migrations, models
from django.db.models import Q


def add(model, name, *fields, **options):
    return migrations.AddIndex(model, models.Index(fields=fields, name=name, **options))


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_append_only_entries")]

    operations = [
        add("account", "account_currency_balance_id", "currency", "balance", "id"),
        add("transfer", "transfer_date_id", "date", "id"),
        add("transfer", "transfer_origin_date_id", "origin", "date", "id"),
        add("transfer", "transfer_destination_date_id", "destination", "date", "id"),
        add("transfer", "transfer_currency_balance", "currency", "balance"),
        add(
            "transfer",
            "transfer_reference_date_id",
            *("reference", "date", "id"),
            condition=~Q(reference=""),
        ),
        add("transfer", "transfer_cancelled", "date", "id", condition=Q(cancelled=True)),
        migrations.RemoveIndex("account", "account_currency_balance"),
        migrations.RemoveIndex("transfer", "transfer_origin"),
        migrations.RemoveIndex("transfer", "transfer_destination"),
        migrations.RemoveIndex("transfer", "transfer_reference"),
        migrations.AlterField("transfer", "date", models.DateTimeField(auto_now_add=True)),
    ]
