"""Figures of many rows: made at once where the rows are few, and kept where a page could not wait for them.

Pages ask a :class:`Topic`. Where it is large, they show what was summed up last and when that was; a job sums up anew.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.utils import timezone, translation
from django.utils.functional import cached_property

from recommender.models import (
    Campaign,
    CampaignShopper,
    Event,
    Experiment,
    ModelVersion,
    Publication,
    Redemption,
    Run,
    SaleEvent,
    Summary,
)
from recommender.progress import Progress
from recommender.services.activity import Activity, measure_activity
from recommender.services.dataclass_json import as_json, from_json
from recommender.services.differences import Difference, compare_with_live
from recommender.services.drift import CalibrationDrift, measure_calibration
from recommender.services.experiment_results import ExperimentResults, measure_experiment
from recommender.services.guardrails import Finding, check_guardrails
from recommender.services.incrementality import Incrementality, has_holdout, measure_incrementality
from recommender.services.off_policy import OffPolicy, estimate_candidate, find_live, refuse_to_estimate
from recommender.services.reporting import CampaignReport, CampaignUses, count_uses, groups_of, report_campaign
from recommender.services.sale_event_report import SaleEventReport, report_sale_event
from recommender.services.shopper_review import CouponUses, count_uses_of_coupons
from recommender.wording import gettext as _

#: Rows that a page adds up by itself: a few tenths of a second.
FEW = 20_000
UNDER_REVIEW = (Run.State.DRAFTED, Run.State.APPROVED)
RUN_WITH_WHAT_IS_CHECKED = ("campaign", "model_version", "snapshot")
#: Campaigns that ended within this time are looked at still.
LOOKED_AT = timedelta(days=30)

Content = TypeVar("Content")


@dataclass(frozen=True)
class Summed(Generic[Content]):
    """Figures, and when they were summed up."""

    content: Content
    made_at: datetime


class Topic(ABC, Generic[Content]):
    """Something that is summed up.

    Attributes:
        kind: the type of its figures.
        lasts: figures that are older are made anew when somebody looks at them.
    """

    kind: ClassVar[Any]
    lasts: ClassVar[timedelta] = timedelta(minutes=15)

    @property
    @abstractmethod
    def key(self) -> str:
        """Names it, for :func:`find_topic`."""

    @property
    def basis(self) -> str:
        """Names the state of the rows, where figures of another state would be wrong and not only old."""
        return ""

    @abstractmethod
    def is_large(self) -> bool:
        """Whether a page cannot wait for :meth:`make`."""

    @abstractmethod
    def make(self) -> Content:
        """The figures as they are now."""

    def find(self) -> Summed[Content] | None:
        """What was summed up last; None if nothing was, or of another state of the rows."""
        return self.read(Summary.objects.filter(key=self.key, basis=self.basis).first())

    def read(self, summary: Summary | None) -> Summed[Content] | None:
        """What a row of its own holds; None if it cannot be read any more."""
        if summary is None:
            return None
        try:
            return Summed(from_json(self.kind, summary.content), summary.made_at)
        except (KeyError, TypeError, ValueError):  # of another version of the software, or a row of it is gone
            return None

    def sum_up(self) -> Summed[Content]:
        """Make the figures and keep them."""
        basis, made_at = self.basis, timezone.now()
        content = self.make()
        Summary.objects.update_or_create(
            key=self.key, defaults={"basis": basis, "content": as_json(content), "made_at": made_at}
        )
        return Summed(content, made_at)

    def sum_up_if_large(self) -> None:
        """Have the figures ready for whoever looks first, where a page would not make them by itself."""
        if self.is_large():
            self.sum_up()

    def is_old(self, summed: Summed[Content]) -> bool:
        return timezone.now() - summed.made_at > self.lasts


@dataclass(frozen=True)
class ShopActivity(Topic[Activity]):
    """The shop day by day."""

    kind: ClassVar[Any] = Activity
    key: ClassVar[str] = "activity"

    def is_large(self) -> bool:
        return _are_many(Redemption.objects.all())

    def make(self) -> Activity:
        return measure_activity()


@dataclass(frozen=True)
class Calibration(Topic[CalibrationDrift]):
    """Whether the forecasts of published runs came true: those of a model version, or all of them."""

    kind: ClassVar[Any] = CalibrationDrift
    version: ModelVersion | None = None

    @property
    def key(self) -> str:
        return f"calibration:{self.version.pk if self.version else ''}"

    def is_large(self) -> bool:
        return _are_many(Redemption.objects.all())

    def make(self) -> CalibrationDrift:
        return measure_calibration(version=self.version)


@dataclass(frozen=True)
class UsesOfCampaigns(Topic[dict[int, CampaignUses]]):
    """How often the coupons of each campaign were used."""

    kind: ClassVar[Any] = dict[int, CampaignUses]
    key: ClassVar[str] = "uses"

    def is_large(self) -> bool:
        return _are_many(Redemption.objects.all()) or _are_many(CampaignShopper.objects.all())

    def make(self) -> dict[int, CampaignUses]:
        return count_uses()


@dataclass(frozen=True)
class UsesOfCoupons(Topic[dict[int, CouponUses]]):
    """How often each coupon was used, and what that took off."""

    kind: ClassVar[Any] = dict[int, CouponUses]
    key: ClassVar[str] = "coupons"

    def is_large(self) -> bool:
        return _are_many(Redemption.objects.all())

    def make(self) -> dict[int, CouponUses]:
        return count_uses_of_coupons()


@dataclass(frozen=True)
class Results(Topic[CampaignReport]):
    """What came of a campaign."""

    kind: ClassVar[Any] = CampaignReport
    campaign: Campaign

    @property
    def key(self) -> str:
        return f"results:{self.campaign.pk}"

    def is_large(self) -> bool:
        listed = Run.objects.filter(publications__campaign=self.campaign).distinct()
        return (
            listed.aggregate(offers=Sum("recommendation_count", default=0))["offers"] > FEW
            or _are_many(self.campaign.campaign_shoppers.all())
            or _are_many(Event.objects.filter(campaign=self.campaign))
            or _are_many(Redemption.objects.filter(campaign=self.campaign))
            or _are_many(groups_of(campaign=self.campaign))
        )

    def make(self) -> CampaignReport:
        return report_campaign(campaign=self.campaign)


@dataclass(frozen=True)
class ResultsOfSaleEvent(Topic[SaleEventReport]):
    """What came of a sale event."""

    kind: ClassVar[Any] = SaleEventReport
    event: SaleEvent

    @property
    def key(self) -> str:
        return f"sale-event:{self.event.pk}"

    def is_large(self) -> bool:
        return _are_many(self.event.reservation_coupons.all()) or _are_many(
            Redemption.objects.filter(campaign__sale_event=self.event)
        )

    def make(self) -> SaleEventReport:
        return report_sale_event(event=self.event, at=timezone.now())


@dataclass(frozen=True)
class WhatChanged(Topic[Incrementality]):
    """What a campaign changed."""

    kind: ClassVar[Any] = Incrementality
    campaign: Campaign

    @property
    def key(self) -> str:
        return f"incrementality:{self.campaign.pk}"

    def is_large(self) -> bool:
        """Wherever there is anything to compare: the maths takes libraries that no page loads."""
        return has_holdout(campaign=self.campaign)

    def make(self) -> Incrementality:
        return measure_incrementality(campaign=self.campaign)


@dataclass(frozen=True)
class WhatArmsChanged(Topic[ExperimentResults]):
    """What came of an experiment that was started."""

    kind: ClassVar[Any] = ExperimentResults
    experiment: Experiment

    @property
    def key(self) -> str:
        return f"experiment:{self.experiment.pk}"

    @property
    def basis(self) -> str:
        """The figures of one that is over are those of its end."""
        ended_at = self.experiment.ended_at
        return "" if ended_at is None else f"{ended_at.timestamp()}"

    def is_large(self) -> bool:
        """Always: the maths takes libraries that no page loads."""
        return True

    def make(self) -> ExperimentResults:
        return measure_experiment(experiment=self.experiment)


@dataclass(frozen=True)
class WouldBring(Topic[OffPolicy]):
    """What a run under review would bring, by what is live in its campaign, which tries something."""

    kind: ClassVar[Any] = OffPolicy
    lasts: ClassVar[timedelta] = timedelta(hours=1)
    run: Run
    live: Publication

    @property
    def key(self) -> str:
        return f"off-policy:{self.run.pk}"

    @property
    def basis(self) -> str:
        return str(self.live.pk)

    def is_large(self) -> bool:
        """Always: the maths takes libraries that no page loads."""
        return True

    def make(self) -> OffPolicy:
        return estimate_candidate(run=self.run)


def find_incomparable() -> list[Incrementality]:
    """The latest campaigns whose groups differ in what they should not: nothing said of them may be believed."""
    now = timezone.now()
    held_out = CampaignShopper.objects.filter(campaign=OuterRef("pk"), group=CampaignShopper.Group.CONTROL)
    looked_at = Campaign.objects.filter(Exists(held_out), starts_at__lte=now, ends_at__gt=now - LOOKED_AT)
    topics = [WhatChanged(campaign) for campaign in looked_at.order_by("-starts_at", "-pk")]
    kept = Summary.objects.filter(key__in=[topic.key for topic in topics]).in_bulk(field_name="key")
    found = [topic.read(kept[topic.key]) for topic in topics if topic.key in kept]
    return [summed.content for summed in found if summed is not None and not summed.content.comparable]


def find_alarming_experiments() -> list[ExperimentResults]:
    """Those that run and whose arms cannot be compared, or of which an arm surely does harm."""
    topics = [WhatArmsChanged(experiment) for experiment in Experiment.objects.running()]
    kept = Summary.objects.filter(key__in=[topic.key for topic in topics]).in_bulk(field_name="key") if topics else {}
    found = [topic.read(kept[topic.key]) for topic in topics if topic.key in kept]
    return [summed.content for summed in found if summed is not None and summed.content.alarms]


@dataclass(frozen=True)
class Checks:
    """What was found out about a run against what is live; the findings in each language of the site."""

    difference: Difference
    findings: dict[str, list[Finding]]

    def findings_for_reader(self) -> list[Finding]:
        """In the reader's language, or else in any."""
        return self.findings.get(translation.get_language() or "") or next(iter(self.findings.values()))


@dataclass(frozen=True)
class RunChecks(Topic[Checks]):
    """The guardrails of a run, and its difference from what is live: between these lists, and while the same job or
    none corrects them."""

    kind: ClassVar[Any] = Checks
    lasts: ClassVar[timedelta] = timedelta(minutes=10)
    run: Run

    @property
    def key(self) -> str:
        return f"checks:{self.run.pk}"

    @property
    def basis(self) -> str:
        job = self.run.find_correction_job()
        return f"{self._lists} {job and job.pk}"

    @property
    def _lists(self) -> str:
        live = self._live
        return f"{self.run.estimated_at and self.run.estimated_at.timestamp()} {live and live.pk}"

    def is_large(self) -> bool:
        live = self._live
        lists = self.run.recommendation_count + (live.run.recommendation_count if live else 0)
        return lists > FEW or _are_many(Redemption.objects.all())

    def make(self) -> Checks:
        if not self.is_large():  # for the page that asks
            difference = compare_with_live(run=self.run)
            findings = check_guardrails(run=self.run, difference=difference)
            return Checks(difference, {translation.get_language() or settings.LANGUAGE_CODE: findings})
        # Between the same lists nothing else changes: what takes minutes is done once.
        before = self.read(Summary.objects.filter(key=self.key, basis__startswith=f"{self._lists} ").first())
        difference = before.content.difference if before else compare_with_live(run=self.run)
        in_languages = {}
        for language, _name in settings.LANGUAGES:
            with translation.override(language):
                in_languages[language] = check_guardrails(run=self.run, difference=difference)
        return Checks(difference, in_languages)

    @cached_property
    def _live(self) -> Publication | None:
        return Publication.objects.live().filter(campaign=self.run.campaign_id).select_related("run").first()


def find_topic(*, key: str) -> Topic:
    """The topic that a key names.

    Raises:
        ValueError: there is none, or what it is about is gone.
    """
    name, _separator, subject = key.partition(":")
    topic: Topic | None = None
    if name == "activity":
        topic = ShopActivity()
    elif name == "uses":
        topic = UsesOfCampaigns()
    elif name == "coupons":
        topic = UsesOfCoupons()
    elif name == "calibration":
        version = ModelVersion.objects.filter(pk=subject).first() if subject else None
        topic = Calibration(version) if version or not subject else None
    elif name == "results":
        campaign = Campaign.objects.filter(pk=subject).first()
        topic = Results(campaign) if campaign else None
    elif name == "sale-event":
        event = SaleEvent.objects.filter(pk=subject).first()
        topic = ResultsOfSaleEvent(event) if event else None
    elif name == "incrementality":
        campaign = Campaign.objects.filter(pk=subject).first()
        topic = WhatChanged(campaign) if campaign else None
    elif name == "experiment":
        experiment = Experiment.objects.filter(pk=subject, started_at__isnull=False).first()
        topic = WhatArmsChanged(experiment) if experiment else None
    elif name == "off-policy":
        run = Run.objects.select_related("campaign").filter(pk=subject).first()
        live = find_live(run=run) if run else None
        topic = WouldBring(run, live) if run and live and refuse_to_estimate(live=live) is None else None
    elif name == "checks":
        run = Run.objects.select_related(*RUN_WITH_WHAT_IS_CHECKED).filter(pk=subject).first()
        topic = RunChecks(run) if run else None
    if topic is None:
        raise ValueError(_("There is nothing to sum up that is called %(key)s.") % {"key": key})
    return topic


def list_large_topics() -> Iterator[Topic]:
    """Whatever of the shop, its latest campaigns and the runs under review pages could not wait for."""
    now = timezone.now()
    topics: list[Topic] = [ShopActivity(), UsesOfCampaigns(), UsesOfCoupons(), Calibration()]
    topics += [
        Calibration(version) for version in ModelVersion.objects.filter(runs__publications__isnull=False).distinct()
    ]
    for campaign in Campaign.objects.filter(starts_at__lte=now, ends_at__gt=now - LOOKED_AT):
        topics += [Results(campaign), WhatChanged(campaign)]
    topics += [WhatArmsChanged(experiment) for experiment in Experiment.objects.running().select_related("campaign")]
    near = SaleEvent.objects.filter(starts_at__lte=now, ends_at__gt=now - LOOKED_AT)
    topics += [ResultsOfSaleEvent(event) for event in near]
    topics += [
        RunChecks(run) for run in Run.objects.filter(state__in=UNDER_REVIEW).select_related(*RUN_WITH_WHAT_IS_CHECKED)
    ]
    return (topic for topic in topics if topic.is_large())


def sum_up_shop(*, progress: Progress = Progress()) -> int:
    """Sum up all of :func:`list_large_topics`. How many they were."""
    topics = list(list_large_topics())
    for done, topic in enumerate(topics):
        progress.report(_("Summing up for the pages"), done, len(topics))
        topic.sum_up()
    return len(topics)


def _are_many(rows: QuerySet) -> bool:
    return rows.order_by()[FEW : FEW + 1].exists()
