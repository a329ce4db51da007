"""The WSGI entry point of the demo yardstick."""

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "bench.speed.demo.settings"
application = get_wsgi_application()
