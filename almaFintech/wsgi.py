"""The WSGI entry point of a production server; development uses `manage.py runserver`."""

import os

from django.core.wsgi import get_wsgi_application

from almaFintech.db import connections
from almaFintech.server.startup import refuse_unsafe

connections.serves_http = True
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
refuse_unsafe()
application = get_wsgi_application()
