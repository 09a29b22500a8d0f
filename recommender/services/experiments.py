"""Experiments: two or more runs of a campaign side by side, and the one that becomes the default."""

from collections.abc import Iterator
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from recommender.models import (
    Campaign,
    CampaignCoupon,
    Experiment,
    ExperimentArm,
    Product,
    Publication,
    Run,
    User,
)
from recommender.services import counters
from recommender.services.guardrails import forbid_or_pass
from recommender.services.publishing import publish
from recommender.services.split import make_split
from recommender.wording import gettext as _


class ExperimentRefused(ValueError):
    """An experiment cannot be started or ended as it is. The message says why."""


def start_experiment(*, experiment: Experiment, started_by: User | None = None, now: datetime | None = None) -> None:
    """Serve each shopper of the campaign by their arm from now on.

    One arm is what the campaign shows now. The others' runs are approved; they go live for their shares, and what
    forbids publishing forbids this too.

    Raises:
        ExperimentRefused: it is not as it should be; nothing was changed.
        PublishingForbidden: a run breaks a guardrail that nobody may overrule.
    """
    _make_counters(experiment)
    with transaction.atomic():
        locked = _lock(experiment)
        now = now or timezone.now()
        # So that nobody rejects or corrects a run meanwhile.
        list(Run.objects.select_for_update().filter(pk__in=locked.arms.values("run")).order_by("pk"))
        arms = list(locked.arms.select_related("run__campaign", "run__model_version", "run__snapshot"))
        live = Publication.objects.live().filter(campaign=locked.campaign_id).first()
        if refusal := refuse_to_start(experiment=locked, arms=arms, live=live, now=now):
            raise ExperimentRefused(refusal)
        assert live is not None
        for arm in arms:
            if arm.run_id == live.run_id:
                continue
            forbid_or_pass(run=arm.run, moment=now)
            Run.objects.filter(pk=arm.run_id).update(state=Run.State.PUBLISHED)
            Publication.objects.create(
                campaign_id=locked.campaign_id, run=arm.run, arm=arm, published_at=now, published_by=started_by
            )
        locked.state = Experiment.State.RUNNING
        locked.split = make_split(locked, arms, default_run=live.run_id)
        locked.started_at, locked.started_by = now, started_by
        locked.save(update_fields=["state", "split", "started_at", "started_by"])
    experiment.refresh_from_db()


def refuse_to_start(
    *, experiment: Experiment, arms: list[ExperimentArm], live: Publication | None, now: datetime
) -> str | None:
    """Why an experiment cannot start as it is; None where it can.

    Args:
        live: what its campaign shows.
    """
    return next(_say_what_is_wrong(experiment, arms, live, now), None)


def _say_what_is_wrong(
    experiment: Experiment, arms: list[ExperimentArm], live: Publication | None, now: datetime
) -> Iterator[str]:
    if experiment.state != Experiment.State.DRAFTED:
        yield _("This experiment was started before.")
    if len(arms) < 2:
        yield _("An experiment compares at least two arms.")
    if sum(arm.share_percent for arm in arms) != 100:
        yield _("The shares of the arms do not add up to 100 percent.")
    if any(arm.run.campaign_id != experiment.campaign_id for arm in arms):
        yield _("Some arm has a run of another campaign.")
    if experiment.campaign.ends_at <= now:
        yield _("The campaign is over.")
    if Experiment.objects.running().filter(campaign=experiment.campaign_id).exists():
        yield _("Another experiment runs in this campaign. End that first.")
    if experiment.outcome == Experiment.Outcome.MARGIN and not Product.objects.filter(cost__isnull=False).exists():
        yield _(
            "It is to be decided by margin, but of no product it is known what it costs. Load the costs, or have "
            "something else decide."
        )
    if live is None:
        yield _("The campaign shows nothing. Publish the run that is to be compared with first.")
        return
    if live.run_id not in {arm.run_id for arm in arms}:
        yield _("One of the arms has to be what the campaign shows now, run %(run)s.") % {"run": live.run_id}
    for arm in arms:
        if arm.run_id != live.run_id and arm.run.state != Run.State.APPROVED:
            yield _("Run %(run)s of arm %(arm)s is not approved.") % {"run": arm.run_id, "arm": arm}


def stop_experiment(*, experiment: Experiment, ended_by: User | None = None, now: datetime | None = None) -> None:
    """Serve everybody by what the campaign showed before the experiment, which is over.

    The runs of the other arms are approved runs again.

    Raises:
        ExperimentRefused: it is not running.
    """
    with transaction.atomic():
        locked = _lock(experiment)
        _end(locked, None, ended_by, now or timezone.now())
    experiment.refresh_from_db()


def make_default(*, arm: ExperimentArm, by: User | None = None, now: datetime | None = None) -> Publication:
    """End an experiment and publish an arm's run for everybody. Rolling the campaign back returns to what was before.

    Returns:
        What the campaign shows now; of the arm that was the default before, what it showed all along.

    Raises:
        ExperimentRefused: the experiment is not running.
        PublishingForbidden: the run breaks a guardrail by now that nobody may overrule; nothing was changed.
    """
    _make_counters(arm.experiment)
    with transaction.atomic():
        locked = _lock(arm.experiment)
        now = _end(locked, arm, by, now or timezone.now())
        return publish(run=Run.objects.get(pk=arm.run_id), published_by=by, now=now)


def _make_counters(experiment: Experiment) -> None:
    """As for publishing: before anything is locked."""
    coupons = CampaignCoupon.objects.filter(campaign=experiment.campaign_id).values_list("coupon_id", flat=True)
    counters.make_counters(coupons=list(coupons), campaigns=[experiment.campaign_id])


def _lock(experiment: Experiment) -> Experiment:
    """The experiment as it is, which nobody starts or ends until the transaction does, nor publishes beside it."""
    Campaign.objects.select_for_update().get(pk=experiment.campaign_id)
    return Experiment.objects.select_related("campaign").get(pk=experiment.pk)


def _end(experiment: Experiment, winner: ExperimentArm | None, by: User | None, now: datetime) -> datetime:
    if experiment.state != Experiment.State.RUNNING:
        raise ExperimentRefused(_("This experiment is not running."))
    assert experiment.started_at is not None
    now = max(now, experiment.started_at)
    shown = Publication.objects.on_show().filter(arm__experiment=experiment)
    Run.objects.filter(pk__in=list(shown.values_list("run", flat=True))).update(state=Run.State.APPROVED)
    shown.update(ended_at=now)
    experiment.state = Experiment.State.ENDED
    experiment.winner, experiment.ended_at, experiment.ended_by = winner, now, by
    experiment.save(update_fields=["state", "winner", "ended_at", "ended_by"])
    return now
