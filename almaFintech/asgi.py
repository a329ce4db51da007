"""The ASGI entry point of a production server; development uses `manage.py runserver`."""

import os

from django.core.asgi import get_asgi_application

from almaFintech import sessions
from almaFintech.bodies import bounded
from almaFintech.startup import production

sessions.serves_http = True
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
application = bounded(production(get_asgi_application))
