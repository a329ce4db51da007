from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_save


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        import audit
        from accounts import ledger
        from accounts.beginnings import sign_register
        from accounts.models import Account, Entry, Register, Transfer
        from almaFintech.db.guards import refuse_fixtures
        from audit.beginnings import history

        for model in Account, Transfer, Entry, Register:
            pre_save.connect(refuse_fixtures, sender=model)

        history += [Account, Entry]
        post_migrate.connect(sign_register, sender=self)

        audit.register(Account, "currency", "balance", lock_before_deletion=ledger.lock_to_close)
        # A cancellation records its own change; transfers have no other edits.
        audit.register(Transfer, "origin_id", "destination_id", "balance", "currency", "reference")
