"""What ``manage.py check --deploy`` says of an installation that would not hold in production."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from couponsite.environment import Environment


@register("celery", deploy=True)
def check_background_work(**kwargs: Any) -> list[CheckMessage]:
    """A message that a worker died with comes again, and none is given to two workers that both live."""
    soft, hard = settings.CELERY_TASK_SOFT_TIME_LIMIT, settings.CELERY_TASK_TIME_LIMIT
    visible = settings.CELERY_BROKER_TRANSPORT_OPTIONS.get("visibility_timeout", 3600)
    found: list[CheckMessage] = []
    if not 0 < soft < hard:
        found.append(
            Error(
                f"CELERY_TASK_SOFT_TIME_LIMIT ({soft} s) must be shorter than CELERY_TASK_TIME_LIMIT ({hard} s).",
                hint="Work that is told to stop needs time to write that it stopped.",
                id="couponsite.E001",
            )
        )
    if visible <= hard:
        found.append(
            Error(
                f"The broker's visibility_timeout ({visible} s) must be longer than CELERY_TASK_TIME_LIMIT ({hard} s).",
                hint="The broker would give a task to a second worker while the first is still at it.",
                id="couponsite.E002",
            )
        )
    if not (settings.CELERY_TASK_ACKS_LATE and settings.CELERY_TASK_REJECT_ON_WORKER_LOST):
        found.append(
            Error(
                "CELERY_TASK_ACKS_LATE and CELERY_TASK_REJECT_ON_WORKER_LOST must be on.",
                hint="A task would be lost with the worker that took it.",
                id="couponsite.E003",
            )
        )
    if settings.CELERY_WORKER_PREFETCH_MULTIPLIER != 1:
        found.append(
            Error(
                f"CELERY_WORKER_PREFETCH_MULTIPLIER is {settings.CELERY_WORKER_PREFETCH_MULTIPLIER}; expected 1.",
                hint="A worker would hold back tasks of hours that others are free for.",
                id="couponsite.E004",
            )
        )
    if settings.CELERY_BEAT_SCHEDULER != "couponsite.scheduler:OnceScheduler":
        found.append(
            Warning(
                "With another scheduler a second beat, or one that was killed, begins what was begun already.",
                hint="Set CELERY_BEAT_SCHEDULER to couponsite.scheduler:OnceScheduler.",
                id="couponsite.W003",
            )
        )
    return found


@register(Tags.database, deploy=True)
def check_servers(**kwargs: Any) -> list[CheckMessage]:
    """Several hosts need a database, files and a secret that all of them see."""
    environment: Environment = settings.ENVIRONMENT
    is_sqlite = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
    if environment.broker_is_embedded:
        if is_sqlite:
            return []  # one host, which `manage.py up` runs
        return [
            Warning(
                "The embedded broker serves one host alone, and counts of requests are not shared.",
                hint="Set REDIS_URL.",
                id="couponsite.W001",
            )
        ]
    found: list[CheckMessage] = []
    if is_sqlite:
        found.append(
            Error(
                "SQLite keeps its data in a file of this host, while REDIS_URL lets workers of others take its jobs.",
                hint="Set DATABASE_URL to a PostgreSQL that all hosts reach, or leave REDIS_URL out.",
                id="couponsite.E005",
            )
        )
    if not environment.secret_key_is_given:
        found.append(
            Error(
                "Each host made a secret of its own: what one signs, another refuses.",
                hint="Set SECRET_KEY to the same value on all hosts.",
                id="couponsite.E006",
            )
        )
    if not (environment.s3_bucket or environment.data_dir_is_shared):
        found.append(
            Warning(
                "Models, snapshots and uploads are files of this host, which other hosts' workers do not find.",
                hint=(
                    "Set S3_BUCKET; or SHARED_DATA_DIR=true where DATA_DIR is one file system of all hosts, or there "
                    "is one host."
                ),
                id="couponsite.W002",
            )
        )
    return found
