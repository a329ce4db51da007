"""The ASGI entry point of a production server; development uses `manage.py runserver`."""

import os

from django.core.asgi import get_asgi_application

from almaFintech.db import connections
from almaFintech.middleware.bodies import bounded
from almaFintech.server.startup import production

connections.serves_http = True
connections.max_age = 0
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
application = bounded(production(get_asgi_application))
