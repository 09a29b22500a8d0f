"""Publishing: which run's lists a campaign shows, and the way back."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from recommender.models import Campaign, CampaignCoupon, Experiment, Publication, Run, User
from recommender.services import counters
from recommender.services.guardrails import forbid_or_pass
from recommender.services.runs import WrongState
from recommender.services.webhooks import announce_publication, announce_rollback
from recommender.wording import gettext as _


class NothingLive(ValueError):
    """A campaign shows no run."""


class LiveChanged(ValueError):
    """A campaign no longer shows what whoever publishes saw."""


class ExperimentRuns(ValueError):
    """What a campaign shows stays while an experiment compares it with something else."""


def publish(
    *,
    run: Run,
    published_by: User | None = None,
    now: datetime | None = None,
    approve: bool = False,
    live_seen: int | None = None,
) -> Publication:
    """Show a run's lists instead of what its campaign shows now, and record since when.

    Publishing the run that is live changes nothing and returns its publication.

    Args:
        now: when it goes live, if not at this moment.
        approve: take the word of whoever publishes for the approval that a drafted run still lacks.
        live_seen: key of the publication that was live when they decided, 0 if none was; anything if it is not given.

    Raises:
        LiveChanged: somebody else published or rolled back meanwhile.
        ExperimentRuns: an experiment runs in the campaign.
        WrongState: the run is not approved; with ``approve``, neither drafted nor approved.
        PublishingForbidden: it breaks a guardrail that nobody may overrule.
    """
    # Served lists are held against counters. They are made before anything is locked: who redeems locks them first.
    coupons = CampaignCoupon.objects.filter(campaign=run.campaign_id).values_list("coupon_id", flat=True)
    counters.make_counters(coupons=list(coupons), campaigns=[run.campaign_id])
    publishable = [Run.State.DRAFTED, Run.State.APPROVED] if approve else [Run.State.APPROVED]
    with transaction.atomic():
        live = _lock_live(run.campaign_id)
        if live is not None and live.run_id == run.pk:
            return live
        _refuse_beside_experiment(run.campaign_id)
        if live_seen is not None and live_seen != (live.pk if live is not None else 0):
            raise LiveChanged(
                _("What the campaign shows has changed meanwhile. Nothing was published: please look again.")
            )
        locked = Run.objects.select_for_update().get(pk=run.pk)
        if locked.state not in publishable:
            raise WrongState(locked, publishable)
        now = now or timezone.now()
        forbid_or_pass(run=locked, moment=now)
        if locked.state == Run.State.DRAFTED:
            Run.objects.filter(pk=run.pk).update(reviewed_by=published_by, reviewed_at=now)
        if live is not None:
            now = _end(live, Run.State.SUPERSEDED, now)
        publication = _show(run, replaces=live, now=now, published_by=published_by)
        announce_publication(publication=publication)
    run.refresh_from_db()
    return publication


def rollback(*, campaign: Campaign, by: User | None = None, now: datetime | None = None) -> Publication | None:
    """End what a campaign shows and show again what that had replaced.

    Returns:
        The publication that is live now; None if nothing was shown before.

    Raises:
        NothingLive: the campaign shows nothing.
        ExperimentRuns: an experiment runs in the campaign. Stopping it comes first, and is as quick.
    """
    with transaction.atomic():
        live = _lock_live(campaign.pk)
        if live is None:
            raise NothingLive(_("Campaign %(campaign)s has nothing published.") % {"campaign": campaign.campaign_id})
        _refuse_beside_experiment(campaign.pk)
        now = _end(live, Run.State.ROLLED_BACK, now or timezone.now())
        before = live.replaces
        shown = None
        if before is not None:
            shown = _show(before.run, replaces=before.replaces, now=now, published_by=by)
        announce_rollback(ended=live, shown=shown, at=now)
        return shown


def _lock_live(campaign_key: int) -> Publication | None:
    """The live publication of a campaign, which nobody else can change until the transaction ends."""
    Campaign.objects.select_for_update().get(pk=campaign_key)
    return Publication.objects.live().filter(campaign=campaign_key).first()


def refuse_beside_experiment(*, campaign_key: int) -> str | None:
    """Why what a campaign shows stays as it is; None where no experiment runs in it."""
    running = Experiment.objects.running().filter(campaign=campaign_key).first()
    if running is None:
        return None
    refusal = _("The experiment “%(experiment)s” runs in this campaign. Nothing was changed: end the experiment first.")
    return refusal % {"experiment": running}


def _refuse_beside_experiment(campaign_key: int) -> None:
    if refusal := refuse_beside_experiment(campaign_key=campaign_key):
        raise ExperimentRuns(refusal)


def _end(live: Publication, state: Run.State, now: datetime) -> datetime:
    """End a publication and say when: never before it began, whatever another host's clock says."""
    now = max(now, live.published_at)
    Publication.objects.filter(pk=live.pk).update(ended_at=now)
    Run.objects.filter(pk=live.run_id).update(state=state)
    return now


def _show(run: Run, *, replaces: Publication | None, now: datetime, published_by: User | None) -> Publication:
    Run.objects.filter(pk=run.pk).update(state=Run.State.PUBLISHED)
    return Publication.objects.create(
        campaign_id=run.campaign_id, run=run, replaces=replaces, published_at=now, published_by=published_by
    )
