"""The ASGI entry point of a production server; development uses `manage.py runserver`."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

from almaFintech.startup import production


def get_application() -> Any:
    application = get_asgi_application()
    # It cannot be imported before Django has loaded the apps.
    from almaFintech.bodies import bounded

    return bounded(application)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
application = production(get_application)
