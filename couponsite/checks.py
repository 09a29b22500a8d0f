"""What ``manage.py check --deploy`` finds wrong with the settings of background work."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register


@register(Tags.compatibility, deploy=True)
def check_background_work(app_configs: Any = None, **options: Any) -> Sequence[Error | Warning]:
    """Settings of Celery that lose work, do it twice at once, or let one worker hold what others could do."""
    soft, hard = settings.CELERY_TASK_SOFT_TIME_LIMIT, settings.CELERY_TASK_TIME_LIMIT
    visible_after = settings.CELERY_BROKER_TRANSPORT_OPTIONS.get("visibility_timeout", 3600)
    found: list[Error | Warning] = []
    if not soft < hard:
        found.append(
            Error(
                f"CELERY_TASK_SOFT_TIME_LIMIT is {soft} s and CELERY_TASK_TIME_LIMIT {hard} s: work would be killed "
                "before it could end in order.",
                hint="Set the soft limit lower than the hard one.",
                id="couponsite.E001",
            )
        )
    if not hard < visible_after:
        found.append(
            Error(
                f"The broker hands a message out again after {visible_after} s, and work may take {hard} s: it would "
                "be begun a second time while it goes on.",
                hint="Set visibility_timeout in CELERY_BROKER_TRANSPORT_OPTIONS higher than CELERY_TASK_TIME_LIMIT.",
                id="couponsite.E002",
            )
        )
    if not (settings.CELERY_TASK_ACKS_LATE and settings.CELERY_TASK_REJECT_ON_WORKER_LOST):
        found.append(
            Error(
                "Messages are acknowledged before their work is done: what dies with a process is lost.",
                hint="Set CELERY_TASK_ACKS_LATE and CELERY_TASK_REJECT_ON_WORKER_LOST.",
                id="couponsite.E003",
            )
        )
    if settings.CELERY_WORKER_PREFETCH_MULTIPLIER != 1:
        found.append(
            Warning(
                "Workers take messages in store, which wait for their work while other workers are idle.",
                hint="Set CELERY_WORKER_PREFETCH_MULTIPLIER to 1.",
                id="couponsite.W004",
            )
        )
    if settings.CELERY_BEAT_SCHEDULER != "couponsite.scheduler:OnceScheduler":
        found.append(
            Warning(
                "With another scheduler a second beat, or one that was killed, begins what was begun already.",
                hint="Set CELERY_BEAT_SCHEDULER to couponsite.scheduler:OnceScheduler.",
                id="couponsite.W005",
            )
        )
    if (
        settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
        and not settings.ENVIRONMENT.broker_is_embedded
    ):
        found.append(
            Warning(
                "REDIS_URL names a broker that other hosts can reach, but SQLite can be used by this host alone.",
                hint="Set DATABASE_URL to a PostgreSQL.",
                id="couponsite.W006",
            )
        )
    return found
