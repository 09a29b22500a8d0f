"""Whether the site can serve, and what the tables and the broker know of how it is doing."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F, Max, Min, Q, Sum
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from recommender.models import Campaign, CouponCounter, Job, Publication, Redemption, Shop, Snapshot

BROKER_ANSWERS_WITHIN = 1  # seconds
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
_DURATION = ExpressionWrapper(F("finished_at") - F("started_at"), DurationField())


# Readiness


def check_readiness() -> dict[str, bool]:
    """Whether each thing that the site leans on is in order: ``database``, ``migrations`` and ``broker``.

    Without the broker the site still serves what is published, and jobs wait: only the other two keep it from serving.
    """
    database = migrations = False
    try:
        applied = MigrationRecorder(connection).applied_migrations()
        database, migrations = True, _required_migrations() <= applied.keys()
    except DatabaseError:
        connection.close()  # the next attempt begins anew
    return {"database": database, "migrations": migrations, "broker": _broker_answers()}


def can_serve(readiness: dict[str, bool]) -> bool:
    return readiness["database"] and readiness["migrations"]


@cache
def _required_migrations() -> frozenset[tuple[str, str]]:
    """What this version of the code needs, squashed ones apart; a newer version may have applied more."""
    on_disk = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    squashed = {tuple(key) for migration in on_disk.values() for key in migration.replaces}
    squashing = {key for key, migration in on_disk.items() if migration.replaces}
    return frozenset(on_disk.keys() - squashed - squashing)


def _broker() -> redis.Redis:
    return redis.Redis.from_url(
        settings.ENVIRONMENT.redis_client_url,
        socket_timeout=BROKER_ANSWERS_WITHIN,
        socket_connect_timeout=BROKER_ANSWERS_WITHIN,
    )


def _broker_answers() -> bool:
    try:
        with _broker() as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


# Metrics


class ShopCollector(Collector):
    """Gauges read from the tables and the broker when Prometheus asks. What cannot be read is left out, and told."""

    def collect(self) -> Iterator[Metric]:
        yield from _broker_metrics()
        try:
            found = [*_job_metrics(), *_learning_metrics(), *_publication_metrics(), *_money_metrics()]
        except DatabaseError:
            connection.close()
            found = []
        yield GaugeMetricFamily("couponsite_database_up", "Whether the database answers.", value=bool(found))
        yield from found


def _broker_metrics() -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "couponsite_queue_messages", "Messages that wait in a queue of the broker.", labels=["queue"]
    )
    up = True
    try:
        with _broker() as client:
            for queue in settings.CELERY_TASK_QUEUES:
                depth.add_metric([queue.name], client.llen(queue.name))
    except redis.RedisError:
        up = False
    yield GaugeMetricFamily("couponsite_broker_up", "Whether the broker answers.", value=up)
    yield depth


def _job_metrics() -> Iterator[Metric]:
    now = timezone.now()
    unfinished = GaugeMetricFamily("couponsite_jobs", "Unfinished jobs.", labels=["kind", "state"])
    counts = {
        (kind, state): count
        for kind, state, count in Job.objects.unfinished().order_by().values_list("kind", "state").annotate(Count("pk"))
    }
    for kind in Job.Kind.values:
        for state in Job.UNFINISHED:
            unfinished.add_metric([kind, state], counts.get((kind, state), 0))
    yield unfinished

    due = Q(not_before__isnull=True) | Q(not_before__lte=now)
    oldest = Job.objects.filter(due, state=Job.State.QUEUED).aggregate(oldest=Min("created_at"))["oldest"]
    yield GaugeMetricFamily(
        "couponsite_job_oldest_wait_seconds",
        "How long the job that waits longest has waited.",
        value=(now - oldest).total_seconds() if oldest else 0,
    )
    silent = Job.objects.silent_since(now - Job.SILENT_AFTER).count()
    yield GaugeMetricFamily("couponsite_jobs_silent", "Running jobs without a sign of life.", value=silent)

    finished = GaugeMetricFamily(
        "couponsite_jobs_finished_last_day", "Jobs that ended within a day.", labels=["kind", "state"]
    )
    mean = GaugeMetricFamily(
        "couponsite_job_mean_seconds", "How long jobs that succeeded within a day took.", labels=["kind"]
    )
    longest = GaugeMetricFamily(
        "couponsite_job_longest_seconds", "How long the longest job that succeeded within a day took.", labels=["kind"]
    )
    ended = (
        Job.objects.filter(finished_at__gte=now - DAY)
        .order_by()
        .values_list("kind", "state")
        .annotate(count=Count("pk"), average=Avg(_DURATION), most=Max(_DURATION))
    )
    for kind, state, count, average, most in ended:
        finished.add_metric([kind, state], count)
        if state == Job.State.SUCCEEDED and average is not None:
            mean.add_metric([kind], average.total_seconds())
            longest.add_metric([kind], most.total_seconds())
    yield from (finished, mean, longest)


def _learning_metrics() -> Iterator[Metric]:
    snapshot = Snapshot.objects.order_by("-pk").values_list("created_at", "history_until").first()
    created_at, history_until = snapshot or (None, None)
    yield _moment("couponsite_snapshot_timestamp_seconds", "When the last snapshot was taken.", created_at)
    yield _moment(
        "couponsite_snapshot_history_timestamp_seconds", "How far the last snapshot's history reaches.", history_until
    )
    champion = Shop.current().champion
    yield _moment(
        "couponsite_champion_timestamp_seconds",
        "When the champion was trained.",
        champion.created_at if champion else None,
    )
    yield _moment(
        "couponsite_champion_learned_timestamp_seconds",
        "Up to when the champion learned.",
        champion.learned_until if champion else None,
    )


def _publication_metrics() -> Iterator[Metric]:
    shown = Publication.objects.on_show().filter(run__campaign__in=Campaign.objects.live_at(timezone.now()))
    found = shown.aggregate(count=Count("pk"), oldest=Min("published_at"), newest=Max("published_at"))
    yield GaugeMetricFamily("couponsite_publications_live", "Publications that are served now.", value=found["count"])
    yield _moment(
        "couponsite_publication_timestamp_seconds", "When what is served now was last published.", found["newest"]
    )
    yield _moment(
        "couponsite_publication_oldest_timestamp_seconds",
        "When the oldest of what is served now was published.",
        found["oldest"],
    )


def _money_metrics() -> Iterator[Metric]:
    now = timezone.now()
    uses = CouponCounter.objects.aggregate(uses=Sum("uses"))["uses"]
    yield GaugeMetricFamily("couponsite_coupon_uses", "Uses of coupons that count, held ones too.", value=uses or 0)
    redeemed = Redemption.objects.filter(redeemed_at__gt=now - HOUR, redeemed_at__lte=now).count()
    yield GaugeMetricFamily("couponsite_redemptions_last_hour", "Redemptions within an hour.", value=redeemed)
    spent = GaugeMetricFamily("couponsite_campaign_spent", "Spent and held of a live campaign.", labels=["campaign"])
    left = GaugeMetricFamily(
        "couponsite_campaign_budget_left", "What is left of a live campaign's budget.", labels=["campaign"]
    )
    for campaign_id, budget, used in Campaign.objects.live_at(now).values_list(
        "campaign_id", "budget", "counter__spent"
    ):
        spent.add_metric([campaign_id], float(used or 0))
        if budget is not None:
            left.add_metric([campaign_id], float(budget - (used or 0)))
    yield from (spent, left)


def _moment(name: str, text: str, moment: datetime | None) -> Metric:
    """A gauge of seconds since 1970; without a value while there is no such moment."""
    return GaugeMetricFamily(name, text, value=moment.timestamp() if moment else float("nan"))
