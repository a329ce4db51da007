"""The WSGI entry point of a production server; development uses `manage.py runserver`."""

import os

from django.core.wsgi import get_wsgi_application

from almaFintech import sessions
from almaFintech.startup import production

sessions.serves_http = True
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
application = production(get_wsgi_application)
