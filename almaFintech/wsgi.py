"""The WSGI entry point of a production server; development uses `manage.py runserver`."""

import os

from django.core.wsgi import get_wsgi_application

from almaFintech.db import connections
from almaFintech.server.startup import production

connections.serves_http = True
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
application = production(get_wsgi_application)
