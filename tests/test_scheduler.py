"""Each occurrence of a schedule is begun once, however many schedulers there are, and late rather than never."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
import redis
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from couponsite.celery import app
from couponsite.environment import embedded_broker_socket
from couponsite.scheduler import OnceScheduler

pytestmark = pytest.mark.django_db(transaction=True)

RETRAIN = "recommender.tasks.retrain"


@pytest.fixture(autouse=True)
def only_ours(broker: redis.Redis) -> Iterator[None]:
    PeriodicTask.objects.all().delete()
    yield


def every_minute(**fields: Any) -> PeriodicTask:
    interval, _ = IntervalSchedule.objects.get_or_create(every=1, period="minutes")
    return PeriodicTask.objects.create(name="each minute", task=RETRAIN, interval=interval, **fields)


def at(hour: int, **fields: Any) -> PeriodicTask:
    crontab = CrontabSchedule.objects.create(minute="0", hour=str(hour), timezone="UTC")
    return PeriodicTask.objects.create(name=f"at {hour}", task=RETRAIN, crontab=crontab, **fields)


def begin(scheduler: OnceScheduler) -> None:
    """As long as it has anything to do at this moment."""
    for _ in range(10):
        if scheduler.tick():
            return
    pytest.fail("The scheduler does not come to rest.")


def sent(broker: redis.Redis) -> int:
    return broker.llen("upkeep")


def age(task: PeriodicTask, by: timedelta) -> None:
    PeriodicTask.objects.filter(pk=task.pk).update(last_run_at=timezone.now() - by)


def test_two_schedulers_begin_it_once(broker: redis.Redis) -> None:
    task = every_minute()
    age(task, timedelta(minutes=2))
    for scheduler in (OnceScheduler(app=app), OnceScheduler(app=app)):
        begin(scheduler)
    assert sent(broker) == 1
    task.refresh_from_db()
    assert task.total_run_count == 1


def test_two_that_both_found_it_due_begin_it_once(broker: redis.Redis) -> None:
    task = every_minute()
    age(task, timedelta(minutes=2))
    both = [OnceScheduler(app=app), OnceScheduler(app=app)]
    for scheduler in both:
        assert scheduler.schedule  # read before either begins
    for scheduler in both:
        begin(scheduler)
    assert sent(broker) == 1


def test_one_that_was_killed_does_not_begin_it_again(broker: redis.Redis) -> None:
    age(every_minute(), timedelta(minutes=2))
    begin(OnceScheduler(app=app))
    begin(OnceScheduler(app=app))  # the first had no time to write anything more
    assert sent(broker) == 1


def test_it_goes_on_at_its_pace(broker: redis.Redis) -> None:
    """Between what a scheduler remembers and what it wrote there must be no difference for the next to fall into."""
    task = every_minute()
    age(task, timedelta(minutes=2))
    scheduler = OnceScheduler(app=app)
    begin(scheduler)
    task.refresh_from_db()
    (entry,) = scheduler.schedule.values()
    assert entry.model.last_run_at == task.last_run_at


@pytest.mark.parametrize("missed_for", [timedelta(hours=6), timedelta(days=9)])
def test_what_was_missed_is_begun_once(broker: redis.Redis, missed_for: timedelta) -> None:
    """Even hours later, which django-celery-beat's own scheduler passes over."""
    hour = (datetime.now(UTC) - timedelta(hours=6)).hour
    task = at(hour)
    age(task, missed_for + timedelta(hours=1))
    scheduler = OnceScheduler(app=app)
    begin(scheduler)
    assert sent(broker) == 1
    begin(OnceScheduler(app=app))
    assert sent(broker) == 1


def test_what_is_not_due_is_not_begun(broker: redis.Redis) -> None:
    task = at((datetime.now(UTC) + timedelta(hours=3)).hour)
    age(task, timedelta(minutes=1))
    begin(OnceScheduler(app=app))
    assert sent(broker) == 0


def test_what_was_switched_off_meanwhile_is_not_begun(broker: redis.Redis) -> None:
    task = every_minute()
    age(task, timedelta(minutes=2))
    scheduler = OnceScheduler(app=app)
    assert scheduler.schedule
    PeriodicTask.objects.update(enabled=False)  # as it is before the scheduler looks again
    begin(scheduler)
    assert sent(broker) == 0


def test_a_broker_that_is_away_loses_nothing(broker: redis.Redis) -> None:
    task = every_minute()
    age(task, timedelta(minutes=2))
    last_run_at = PeriodicTask.objects.get().last_run_at
    socket = embedded_broker_socket(settings.DATA_DIR)
    away = socket.rename(socket.with_name("away"))
    broker.client_kill_filter(_type="normal", skipme=True)
    try:
        with patch.object(OnceScheduler, "producer", None):
            begin(OnceScheduler(app=app))
    finally:
        away.rename(socket)
    assert PeriodicTask.objects.get().last_run_at == last_run_at, "it is still due"
    begin(OnceScheduler(app=app))
    assert sent(broker) == 1


def test_a_database_that_is_away_does_not_end_the_scheduler(broker: redis.Redis) -> None:
    age(every_minute(), timedelta(seconds=1))
    scheduler = OnceScheduler(app=app)
    known = scheduler.schedule
    with patch.object(OnceScheduler, "enabled_models_qs", side_effect=DatabaseError("away")):
        assert scheduler.all_as_schedule() == known
        with pytest.raises(DatabaseError):
            OnceScheduler(app=app)  # of one that begins nothing is known


def test_a_clock_that_was_ahead_does_not_stop_it(broker: redis.Redis) -> None:
    """What was begun tomorrow by such a clock goes on from now."""
    task = every_minute()
    age(task, timedelta(days=-1))
    scheduler = OnceScheduler(app=app)
    (entry,) = scheduler.schedule.values()
    assert 50 < entry.is_due().next <= 60
