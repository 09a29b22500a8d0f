"""The Celery application. Its settings are the ``CELERY_`` names of ``couponsite.settings``."""

import logging
import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun

from couponsite.logs import begin_task, end_task

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "couponsite.settings")

app = Celery("couponsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

task_prerun.connect(begin_task)
task_postrun.connect(end_task)


@setup_logging.connect
def log_as_the_site_does(loglevel: int, **signal: Any) -> None:
    """Have workers and scheduler write the site's own lines; ``--loglevel`` says how much Celery tells of itself."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
    for name in ("celery", "django_celery_beat"):
        logging.getLogger(name).setLevel(loglevel)
