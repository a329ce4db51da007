from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_save


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Audit"

    def ready(self) -> None:
        from almaFintech.db.guards import refuse_fixtures
        from audit.beginnings import sign_records
        from audit.models import End, Record

        post_migrate.connect(sign_records, sender=self)
        for model in Record, End:
            pre_save.connect(refuse_fixtures, sender=model)
