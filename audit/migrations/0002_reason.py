from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0001_record"),
    ]

    operations = [
        migrations.AddField(
            model_name="record",
            name="reason",
            field=models.CharField(blank=True, default="", max_length=140),
        ),
    ]
