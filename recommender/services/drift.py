"""Whether what models promise still comes true: uses expected of published runs beside uses counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from math import sqrt

from django.db.models import Exists, F, Max, OuterRef, QuerySet
from django.utils import timezone

from recommender.models import Experiment, ModelVersion, Order, Publication, Recommendation, Redemption, Run

#: Published runs that are looked at, the latest ones.
RUNS = 12
#: Standard deviations of a normal distribution from its mean to the ends of its middle 90 % and 95 %.
OF_90_PERCENT, OF_95_PERCENT = 1.645, 1.96


class Verdict(Enum):
    UNKNOWN = "unknown"  #: no campaign with a published run is over
    HOLDS = "holds"
    FEWER = "fewer"  #: fewer uses than the forecasts allow
    MORE = "more"


@dataclass(frozen=True)
class RunOutcome:
    """What was expected of a run, between which numbers it lay 90 times of 100, and how many offers were used."""

    run: Run
    expected: float
    low: int
    high: int
    used: int

    @property
    def inside(self) -> bool:
        return self.low <= self.used <= self.high


@dataclass(frozen=True)
class CalibrationDrift:
    """Forecasts of several runs taken together.

    Each forecast's 90 % interval says how sure it was. Taking it for a normal distribution's, and the runs for
    independent, the sum lies between ``low`` and ``high`` 95 times of 100 while the model is as true as it was when it
    was trained. Uses outside of that are called drift: the calibration in the large of Cox (1958), with the forecasts'
    own uncertainty.

    Attributes:
        runs: the latest first.
    """

    runs: Sequence[RunOutcome]
    expected: float
    low: float
    high: float
    used: int

    @property
    def ratio(self) -> float | None:
        """Uses counted by uses expected."""
        return self.used / self.expected if self.expected else None

    @property
    def verdict(self) -> Verdict:
        if not self.runs:
            return Verdict.UNKNOWN
        if self.used < self.low:
            return Verdict.FEWER
        return Verdict.MORE if self.used > self.high else Verdict.HOLDS

    @property
    def warns(self) -> bool:
        return self.verdict in (Verdict.FEWER, Verdict.MORE)


def measure_calibration(*, version: ModelVersion | None = None, now: datetime | None = None) -> CalibrationDrift:
    """What came of the latest published runs of campaigns that are over, as far as data go.

    Of a campaign the first publication counts, which decided what was offered; an offer counts once, if it was used
    between then and the campaign's end. A campaign with an experiment tells of no run alone, and does not count.

    Args:
        version: the model version that made the runs; any version if not given.
    """
    until = _known_until(now or timezone.now())
    outcomes = [] if until is None else [_outcome(each) for each in _finished(version, until)]
    expected = sum(outcome.expected for outcome in outcomes)
    deviation = sqrt(sum(((outcome.high - outcome.low) / (2 * OF_90_PERCENT)) ** 2 for outcome in outcomes))
    return CalibrationDrift(
        runs=outcomes,
        expected=expected,
        low=max(0.0, expected - OF_95_PERCENT * deviation),
        high=expected + OF_95_PERCENT * deviation,
        used=sum(outcome.used for outcome in outcomes),
    )


def _known_until(now: datetime) -> datetime | None:
    """How far data go: uses after the last thing that was brought in are not missing, they are not known yet."""
    moments = [
        Order.objects.aggregate(last=Max("ordered_at"))["last"],
        Redemption.objects.aggregate(last=Max("redeemed_at"))["last"],
    ]
    return min(now, max((moment for moment in moments if moment is not None), default=now))


def _finished(version: ModelVersion | None, until: datetime) -> QuerySet[Publication]:
    earlier = Publication.objects.filter(campaign=OuterRef("campaign"), pk__lt=OuterRef("pk"))
    first = Publication.objects.filter(
        ~Exists(earlier),
        ~Exists(Experiment.objects.filter(campaign=OuterRef("campaign"), started_at__isnull=False)),
        campaign__ends_at__lte=until,
        published_at__lt=F("campaign__ends_at"),
        run__expected_redemptions__isnull=False,
        run__expected_low__isnull=False,
        run__expected_high__isnull=False,
    )
    if version is not None:
        first = first.filter(run__model_version=version)
    return first.select_related("campaign", "run__campaign").order_by("-campaign__ends_at", "-pk")[:RUNS]


def _outcome(publication: Publication) -> RunOutcome:
    run = publication.run
    offered = Recommendation.objects.offered().filter(run=run, shopper=OuterRef("shopper"), coupon=OuterRef("coupon"))
    uses = Redemption.objects.filter(
        Exists(offered),
        campaign=publication.campaign_id,
        redeemed_at__gte=publication.published_at,
        redeemed_at__lt=publication.campaign.ends_at,
    )
    return RunOutcome(
        run=run,
        expected=run.expected_redemptions or 0.0,
        low=run.expected_low or 0,
        high=run.expected_high or 0,
        used=uses.values("shopper", "coupon").distinct().count(),
    )
