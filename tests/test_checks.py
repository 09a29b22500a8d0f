"""What ``manage.py check --deploy`` says of background work."""

from typing import Any

import pytest
from django.conf import settings as site

from couponsite.checks import check_background_work


def test_the_sites_own_settings_are_in_order() -> None:
    assert check_background_work() == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"CELERY_TASK_SOFT_TIME_LIMIT": site.CELERY_TASK_TIME_LIMIT}, "couponsite.E001"),
        ({"CELERY_BROKER_TRANSPORT_OPTIONS": {}}, "couponsite.E002"),
        ({"CELERY_TASK_ACKS_LATE": False}, "couponsite.E003"),
        ({"CELERY_TASK_REJECT_ON_WORKER_LOST": False}, "couponsite.E003"),
        ({"CELERY_WORKER_PREFETCH_MULTIPLIER": 4}, "couponsite.W004"),
        ({"CELERY_BEAT_SCHEDULER": "django_celery_beat.schedulers:DatabaseScheduler"}, "couponsite.W005"),
    ],
)
def test_what_is_wrong_is_said(settings: Any, changed: dict[str, object], expected: str) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    assert [found.id for found in check_background_work()] == [expected]
