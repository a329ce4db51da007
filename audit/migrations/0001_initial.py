
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='End',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('seq', models.BigIntegerField(default=0)),
                ('seal', models.BinaryField(default=b'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00', max_length=32)),
            ],
            options={
                'base_manager_name': 'objects',
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='trail_has_one_end')],
            },
        ),
        migrations.CreateModel(
            name='Record',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('seq', models.BigIntegerField(unique=True)),
                ('date', models.DateTimeField()),
                ('by', models.BigIntegerField(db_index=True)),
                ('username', models.CharField(max_length=150)),
                ('action', models.CharField(choices=[('created', 'Created'), ('changed', 'Changed'), ('deleted', 'Deleted'), ('cancelled', 'Cancelled')], max_length=9)),
                ('kind', models.CharField(max_length=20)),
                ('number', models.BigIntegerField()),
                ('changes', models.JSONField()),
                ('reason', models.CharField(blank=True, default='', max_length=140)),
                ('digest', models.BinaryField(max_length=32)),
            ],
            options={
                'base_manager_name': 'objects',
                'ordering': ('-id',),
                'indexes': [models.Index(fields=['kind', 'number'], name='record_object')],
            },
        ),
    ]
