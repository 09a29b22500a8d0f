"""WSGI entry point."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "couponsite.settings")

application = get_wsgi_application()

# What was loaded stays for as long as the process: looking through all of it again and again for what can go takes a
# tenth of the time of a request.
gc.collect()
gc.freeze()
