"""The headers of a kept answer.

The column may be null, so that servers of the release before go on writing rows without it.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_lists_by_date")]

    operations = [migrations.AddField("idempotencykey", "headers", models.JSONField(null=True))]
