from django.apps import AppConfig
from django.db.models.signals import pre_save


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts.models import Account, Entry, Register, Transfer
        from almaFintech.db.guards import refuse_fixtures

        for model in Account, Transfer, Entry, Register:
            pre_save.connect(refuse_fixtures, sender=model)
