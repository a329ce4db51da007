"""The ASGI entry point, for other ASGI servers; `make serve` uses wsgi.py."""

import os

from django.core.asgi import get_asgi_application

from almaFintech.db import connections
from almaFintech.middleware.bodies import bounded
from almaFintech.server.startup import refuse_unsafe

connections.serves_http = True
connections.max_age = 0
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
refuse_unsafe()
application = bounded(get_asgi_application())
