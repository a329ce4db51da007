
import accounts.currencies
import django.core.validators
import django.db.models.deletion
import django.db.models.manager
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Account',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('currency', models.CharField(choices=accounts.currencies.currency_choices, max_length=3)),
                ('balance', models.BigIntegerField(default=0, help_text='Micro units: 1 000 000 is one unit of the currency.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(9223372036854775807)])),
                ('last_seq', models.BigIntegerField(default=0, editable=False)),
                ('last_date', models.DateTimeField(editable=False, null=True)),
                ('seal', models.BinaryField(default=b'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00', max_length=32)),
            ],
            options={
                'ordering': ('id',),
                'base_manager_name': 'objects',
                'indexes': [models.Index(fields=['currency', 'balance', 'id'], name='account_currency_balance_id')],
                'constraints': [models.CheckConstraint(condition=models.Q(('balance__gte', 0)), name='account_balance_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='Register',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('opened', models.BigIntegerField(default=0)),
                ('seal', models.BinaryField(default=b'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00', max_length=32)),
            ],
            options={
                'verbose_name_plural': 'register',
                'base_manager_name': 'objects',
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='register_has_one_row')],
            },
        ),
        migrations.CreateModel(
            name='Transfer',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('date', models.DateTimeField(blank=True, editable=False)),
                ('currency', models.CharField(choices=accounts.currencies.currency_choices, editable=False, max_length=3)),
                ('balance', models.PositiveBigIntegerField(default=0, help_text='Micro units: 1 000 000 is one unit of the currency.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(9223372036854775807)])),
                ('cancelled', models.BooleanField(default=False, editable=False)),
                ('reference', models.CharField(blank=True, default='', max_length=140)),
                ('cancelled_at', models.DateTimeField(editable=False, null=True)),
                ('cancelled_by', models.ForeignKey(db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_by', models.ForeignKey(db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('destination', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='in_transfers', to='accounts.account')),
                ('origin', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='out_transfers', to='accounts.account')),
            ],
            options={
                'ordering': ('-id',),
                'base_manager_name': 'cascades',
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('cascades', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('seq', models.BigIntegerField()),
                ('counterparty', models.BigIntegerField(null=True)),
                ('amount', models.BigIntegerField()),
                ('balance_after', models.BigIntegerField()),
                ('date', models.DateTimeField()),
                ('kind', models.CharField(choices=[('opening', 'Opening'), ('transfer', 'Transfer'), ('cancellation', 'Cancellation'), ('adjustment', 'Adjustment'), ('closing', 'Closing')], max_length=12)),
                ('currency', models.CharField(max_length=3)),
                ('reason', models.CharField(blank=True, default='', max_length=140)),
                ('digest', models.BinaryField(max_length=32)),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='entries', to='accounts.account')),
                ('by', models.ForeignKey(db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('transfer', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='accounts.transfer')),
            ],
            options={
                'verbose_name_plural': 'entries',
                'ordering': ('id',),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=255)),
                ('key_digest', models.CharField(max_length=64)),
                ('fingerprint', models.CharField(max_length=64)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('body', models.TextField(default='')),
                ('headers', models.JSONField(null=True)),
                ('created', models.DateTimeField(auto_now_add=True, db_index=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'key_digest'), name='one_key_per_user')],
            },
        ),
        migrations.AddIndex(
            model_name='transfer',
            index=models.Index(fields=['date', 'id'], name='transfer_date_id'),
        ),
        migrations.AddIndex(
            model_name='transfer',
            index=models.Index(fields=['origin', 'date', 'id'], name='transfer_origin_date_id'),
        ),
        migrations.AddIndex(
            model_name='transfer',
            index=models.Index(fields=['destination', 'date', 'id'], name='transfer_destination_date_id'),
        ),
        migrations.AddIndex(
            model_name='transfer',
            index=models.Index(fields=['currency', 'balance'], name='transfer_currency_balance'),
        ),
        migrations.AddIndex(
            model_name='transfer',
            index=models.Index(condition=models.Q(('reference', ''), _negated=True), fields=['reference', 'date', 'id'], name='transfer_reference_date_id'),
        ),
        migrations.AddIndex(
            model_name='transfer',
            index=models.Index(condition=models.Q(('cancelled', True)), fields=['date', 'id'], name='transfer_cancelled'),
        ),
        migrations.AddConstraint(
            model_name='transfer',
            constraint=models.CheckConstraint(condition=models.Q(('balance__gt', 0), ('balance__lte', 9223372036854775807)), name='transfer_balance_positive'),
        ),
        migrations.AddConstraint(
            model_name='transfer',
            constraint=models.CheckConstraint(condition=models.Q(('origin', models.F('destination')), _negated=True), name='transfer_accounts_differ'),
        ),
        migrations.AddConstraint(
            model_name='transfer',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('cancelled', True), ('cancelled_at__isnull', False)), models.Q(('cancelled', False), ('cancelled_at', None), ('cancelled_by', None)), _connector='OR'), name='transfer_cancelled_with_its_date'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(fields=['account', 'date', 'seq'], name='entry_account_date'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.UniqueConstraint(fields=('account', 'seq'), name='entry_account_seq'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.CheckConstraint(condition=models.Q(('seq__gte', 1)), name='entry_seq_positive'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.CheckConstraint(condition=models.Q(('balance_after__gte', 0)), name='entry_balance_not_negative'),
        ),
    ]
