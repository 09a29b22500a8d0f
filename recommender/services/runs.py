"""Runs: who is to be recommended which coupons in a campaign, computed shard by shard, then reviewed by staff."""

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import polars as pl
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from recommender import models
from recommender.bulk import count_anew, insert_frame
from recommender.clock import database_now
from recommender.ml import columns as c
from recommender.ml.history import SnapshotUnreadable
from recommender.ml.input_drift import add_counts
from recommender.models import Recommendation, Run, RunShard
from recommender.progress import Cancelled, Progress
from recommender.services import scoring
from recommender.services.allocation import allocate_run, delete_candidates, most_candidates, write_candidates
from recommender.services.assignment import is_for_everyone, record_assignment
from recommender.services.budgeting import (
    AS_IT_IS,
    Budget,
    BudgetRefused,
    BudgetTerms,
    amount_of,
    decide_terms,
    find_floors,
)
from recommender.services.contact import ContactLimit, leave_out_contacted
from recommender.services.correction_jobs import refuse_while_corrected
from recommender.services.estimates import estimate_run
from recommender.services.exploration import decide_exploration
from recommender.services.first_stage import is_worth_two_stages
from recommender.services.floors import mark_members
from recommender.services.input_drift import choose_reference, record_inputs
from recommender.services.new_uses import choose_teachers, refuse_incremental_margin
from recommender.services.snapshot import open_snapshot, take_snapshot
from recommender.services.stock import Stock
from recommender.wording import gettext as _
from recommender.wording import sentence_of

logger = logging.getLogger(__name__)

MOST_COUPONS = 1_000  # on a shopper's list
SHARD_SHOPPERS = 2_000
FAILURES_NAMED = 5


class NothingToRecommend(ValueError):
    """What was asked for comes to no recommendation: no time left, no coupon or no shopper."""


class WrongState(ValueError):
    """What was asked cannot be done with a run in its present state."""

    def __init__(self, run: Run, wanted: Sequence[Run.State]) -> None:
        super().__init__(
            _("Run %(run)s is in state “%(state)s”; expected %(wanted)s.")
            % {
                "run": run.pk,
                "state": sentence_of(Run.State(run.state).label),
                "wanted": [sentence_of(state.label) for state in wanted],
            }
        )


class ShardsFailed(ValueError):
    """All that could be scored of a run is, and some shards could not."""


class OwnRun(ValueError):
    """Whoever made a run may not approve it, unless the shop's settings allow it."""


# Planning


def plan_run(
    *,
    campaign: models.Campaign,
    as_of: datetime | None = None,
    algorithm: str | None = None,
    top: int = 10,
    budget: Budget = AS_IT_IS,
    created_by: models.User | None = None,
    job: models.Job | None = None,
    progress: Progress = Progress(),
) -> Run:
    """Decide what a run of a campaign computes, and cut it into shards.

    Who is held out of the campaign is recorded first: the run is for those who are not.

    The champion scores, or the newest version of ``algorithm``. One that learned nothing at or after ``as_of`` is
    trained first if there is none. Planning the same again returns the run that is there, and so does a job that is
    taken up again.

    Args:
        as_of: nothing dated at or after this moment is used; now if it is not given.
        top: how many coupons a shopper gets at most, from 1 to ``MOST_COUPONS``.
        budget: what the lists are to bring the most of, and within what. What the campaign and its coupons have left of
            their budgets and limits is kept to in any case, and so are the campaign's rules of lists. Where there is
            nothing of the kind, every list has the likeliest coupons.

    Raises:
        BudgetRefused: the campaign has less left, or promises uses to too many segments or more than all places to
            sellers, or it is not known what its coupons cost or bring, or whom they change.
        NothingToRecommend: the campaign is over, or has no open coupon or no shopper, its audience was decided anew
            meanwhile, or ``top`` is out of range.
        UnknownAlgorithm: there is no such algorithm.
        ArtifactUnreadable: the file of the model version cannot be used.
    """
    if job is not None and (planned := job.runs.first()) is not None:
        return _decide_stages(planned, progress)
    if not 1 <= top <= MOST_COUPONS:
        raise NothingToRecommend(
            _("Expected 1 to %(most)s coupons a shopper, not %(top)s.") % {"most": MOST_COUPONS, "top": top}
        )
    as_of = as_of or timezone.now()
    objective = budget.objective or Run.Objective.REDEMPTIONS
    if objective == Run.Objective.INCREMENTAL_MARGIN and (refusal := refuse_incremental_margin(at=as_of)):
        raise BudgetRefused(refusal)
    coupon_ids = _find_coupons(campaign, as_of)
    assignment = record_assignment(campaign=campaign, at=as_of)
    shopper_ids, contact_limit = _find_audience(campaign, as_of)
    version = _find_version(algorithm, as_of, job, progress)
    floors = find_floors(campaign)
    terms = decide_terms(
        campaign=campaign,
        coupon_ids=coupon_ids,
        version=version,
        as_of=as_of,
        budget=budget,
        floors=floors,
        shoppers=len(shopper_ids),
        top=top,
    )
    segment_bits = mark_members(floors=floors, shopper_ids=shopper_ids, at=as_of)
    exploration = None
    if terms is None:
        exploration = decide_exploration(campaign=campaign, coupon_ids=coupon_ids, top=top, as_of=as_of)
    if terms is not None:
        coupon_ids = terms.coupon_ids
    scoring.load_algorithm(version)  # while a person waits for the plan, not when a worker comes to the first shard
    snapshot = take_snapshot(progress=progress)
    if terms is not None and objective == Run.Objective.INCREMENTAL_MARGIN:
        progress.report(_("Learning whose uses are new"))
        terms = replace(terms, taught_by=choose_teachers(history=open_snapshot(snapshot=snapshot).before(as_of)))
    listed = top if terms is None else most_candidates(terms, top)
    with transaction.atomic():
        locked = models.Campaign.objects.select_for_update().get(pk=campaign.pk)
        if locked.assigned_at != assignment.assigned_at:
            raise NothingToRecommend(
                _("The audience of campaign %(campaign)s was changed meanwhile. Start again.")
                % {"campaign": campaign.campaign_id}
            )
        run, is_new = Run.objects.get_or_create(
            key=_run_key(
                version=version,
                snapshot=snapshot,
                campaign=campaign,
                as_of=as_of,
                top=top,
                shopper_ids=shopper_ids,
                coupon_ids=coupon_ids,
                assigned_at=assignment.assigned_at,
                within=None
                if terms is None
                else [objective, str(budget.required_return), terms.as_json(), segment_bits],
                exploration=exploration,
                contact_limit=contact_limit,
            ),
            defaults={
                "campaign": campaign,
                "model_version": version,
                "snapshot": snapshot,
                "as_of": as_of,
                "top": top,
                "coupon_ids": coupon_ids,
                "shopper_count": len(shopper_ids),
                "learned_inputs": choose_reference(version=version, campaign=campaign),
                "retrieval": None if is_worth_two_stages(len(shopper_ids), len(coupon_ids), listed) else {},
                "exploration": exploration,
                "contact_limit": contact_limit,
                **(_describe_budget(objective, budget, terms) if terms is not None else {}),
                "created_by": created_by,
                "job": job,
            },
        )
        if is_new:
            RunShard.objects.bulk_create(
                RunShard(
                    run=run,
                    number=number,
                    shopper_ids=shopper_ids[start : start + SHARD_SHOPPERS],
                    segment_bits=segment_bits[start : start + SHARD_SHOPPERS] or None,
                )
                for number, start in enumerate(range(0, len(shopper_ids), SHARD_SHOPPERS))
            )
    return _decide_stages(run, progress)


def _describe_budget(objective: Run.Objective, budget: Budget, terms: BudgetTerms) -> dict[str, object]:
    """What a run within a budget says of it."""
    return {
        "objective": objective,
        "budget": amount_of(terms),
        "required_return": budget.required_return,
        "allocation_terms": terms.as_json(),
    }


def _decide_stages(run: Run, progress: Progress) -> Run:
    """Learn which pairs of a new run are worth scoring, before workers are called to it."""
    if run.state == Run.State.COMPUTING and run.retrieval is None:
        progress.report(_("Learning which coupons are worth scoring for whom"))
        scoring.prepare_scorer(run.key)
        run.refresh_from_db(fields=["retrieval"])
    return run


def _find_coupons(campaign: models.Campaign, as_of: datetime) -> list[str]:
    """The campaign's active coupons that hold at some moment of what remains of its window, and that can be used before
    what they are for is no longer good."""
    opens = max(as_of, campaign.starts_at)
    if opens >= campaign.ends_at:
        raise NothingToRecommend(
            _("Campaign %(campaign)s ended at %(ended)s; at %(as_of)s nothing of it is left.")
            % {"campaign": campaign.campaign_id, "ended": campaign.ends_at, "as_of": as_of}
        )
    coupons = campaign.coupons.filter(
        Q(starts_at__isnull=True) | Q(starts_at__lt=campaign.ends_at),
        Q(ends_at__isnull=True) | Q(ends_at__gt=opens),
        active=True,
    )
    if not coupons:
        raise NothingToRecommend(
            _("Campaign %(campaign)s has no active coupon that holds in its window.")
            % {"campaign": campaign.campaign_id}
        )
    stock = Stock([coupon.pk for coupon in coupons], as_of)
    coupon_ids = [
        coupon.coupon_id
        for coupon in coupons
        if stock.lasts(coupon.pk, max(opens, coupon.starts_at or opens), coupon.ends_at)
    ]
    if not coupon_ids:
        raise NothingToRecommend(
            _("What the coupons of campaign %(campaign)s are for is no longer good before they could be used.")
            % {"campaign": campaign.campaign_id}
        )
    return sorted(coupon_ids)


def _find_audience(campaign: models.Campaign, as_of: datetime) -> tuple[list[str], dict[str, int] | None]:
    """Its treatment shoppers, or everyone but its control where it is for everyone; nobody who opted out, or was sent
    as many other campaigns as the shop allows. And what :attr:`Run.contact_limit` keeps of that."""
    shoppers = models.Shopper.objects.addressable()
    if is_for_everyone(campaign=campaign):
        held_out = campaign.campaign_shoppers.filter(group=models.CampaignShopper.Group.CONTROL)
        shoppers = shoppers.exclude(pk__in=held_out.values("shopper"))
    else:
        sent = campaign.campaign_shoppers.filter(group=models.CampaignShopper.Group.TREATMENT)
        shoppers = shoppers.filter(pk__in=sent.values("shopper"))
    limit = ContactLimit.of(models.Shop.current())
    allowed = shoppers
    if limit is not None:
        allowed = leave_out_contacted(shoppers=shoppers, campaign_key=campaign.pk, limit=limit, at=as_of)
    shopper_ids = sorted(allowed.values_list("shopper_id", flat=True))
    left_out = 0 if allowed is shoppers else shoppers.count() - len(shopper_ids)
    if limit is not None and left_out and not shopper_ids:
        raise NothingToRecommend(
            _(
                "All %(count)s shoppers of campaign %(campaign)s were sent %(most)s or more other campaigns within "
                "%(days)s days, as many as the shop allows."
            )
            % {"count": left_out, "campaign": campaign.campaign_id, "most": limit.most, "days": limit.days}
        )
    if not shopper_ids:
        raise NothingToRecommend(
            _("Campaign %(campaign)s has no shopper who may be offered anything.") % {"campaign": campaign.campaign_id}
        )
    return shopper_ids, None if limit is None else {**asdict(limit), "left_out": left_out}


def _find_version(
    algorithm: str | None, as_of: datetime, job: models.Job | None, progress: Progress
) -> models.ModelVersion:
    from recommender.services.training import train  # costs a second, which review and publishing do without

    if algorithm is None:
        newest = _find_usable_champion(as_of, progress)
    else:
        newest = (
            models.ModelVersion.objects.filter(algorithm=algorithm, learned_until__lte=as_of)
            .order_by("-learned_until", "-pk")
            .first()
        )
    if newest is not None and newest.learned_until <= as_of:
        return newest
    trained = train(as_of=as_of, algorithms=None if algorithm is None else [algorithm], progress=progress, job=job)
    if algorithm is None:
        return trained.champion
    return next(version for version in trained.versions if version.algorithm == algorithm)


def _find_usable_champion(as_of: datetime, progress: Progress) -> models.ModelVersion | None:
    """The champion, or if its file cannot be used the last one before it whose file can: a shop whose model was lost
    overnight has lists all the same. None if there is no champion.

    Raises:
        ArtifactUnreadable: of none the file can be used; the message is of the champion's.
    """
    from recommender.ml.artifact import ArtifactUnreadable  # costs a second, which review and publishing do without

    champion = models.Shop.current().champion
    if champion is None or champion.learned_until > as_of:
        return champion
    promotions = models.Promotion.objects.filter(previous__learned_until__lte=as_of).order_by("-pk")
    unusable: dict[int, ArtifactUnreadable] = {}
    for version in (champion, *(promotion.previous for promotion in promotions.select_related("previous"))):
        if version is None or version.pk in unusable:
            continue
        try:
            scoring.load_algorithm(version)
        except ArtifactUnreadable as error:
            progress.report(_("%(version)s cannot be used: %(error)s") % {"version": version, "error": error})
            logger.error("%s cannot be used: %s", version, error)
            unusable[version.pk] = error
        else:
            return version
    raise unusable[champion.pk]


def _run_key(
    *,
    version: models.ModelVersion,
    snapshot: models.Snapshot,
    campaign: models.Campaign,
    as_of: datetime,
    top: int,
    shopper_ids: Sequence[str],
    coupon_ids: Sequence[str],
    assigned_at: datetime | None,
    within: Sequence[object] | None = None,
    exploration: dict[str, Any] | None = None,
    contact_limit: dict[str, int] | None = None,
) -> str:
    """A digest of everything that decides what a run comes to."""
    moment = as_of.timestamp()
    decides = [snapshot.fingerprint, version.key, campaign.campaign_id, moment, top, shopper_ids, coupon_ids]
    if assigned_at is not None:  # what was planned before the audience was decided anew cannot be published any more
        decides.append(assigned_at.timestamp())
    if within is not None:
        decides.append(within)
    if exploration is not None:
        decides.append(exploration)
    if contact_limit is not None:
        decides.append(contact_limit)
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


# Scoring


def compute_run(*, run: Run, progress: Progress = Progress()) -> Run:
    """Score all that is left of a run in this process, and finish it.

    Raises:
        ShardsFailed: some shards could not be scored; the others are.
    """
    while True:
        while _pending_shards(run).exists():
            if not score_next_shard(run=run, progress=progress):
                progress.report(_("Waiting for shards that another process scores"))
                time.sleep(1)
        run = finish_run(run=run, progress=progress)
        if run.state != Run.State.COMPUTING:
            return run
        if not _pending_shards(run).exists():
            progress.report(_("Waiting for another process that decides who gets what"))
            time.sleep(1)


def score_next_shard(*, run: Run, progress: Progress = Progress()) -> bool:
    """Score one shard of a run that is free: whichever failed least often, so that the rest of a run does not wait for
    one that cannot be scored.

    Any number of workers on any hosts may do this at once. What they come to together depends neither on how many they
    are nor on who scores what and when.

    Returns:
        Whether there was one. An error of the shard itself is kept in its row, and it is free again until it has
        failed :data:`RunShard.MOST_ATTEMPTS` times.

    Raises:
        ArtifactUnreadable, SnapshotUnreadable: a file that the run was planned with cannot be used. No shard is to
            blame, and none is touched.
    """
    free = run.shards.free_at(database_now())
    if not free.exists():
        scoring.forget_scorer(run.key)  # gigabytes, in a large shop
        return False
    scoring.prepare_scorer(run.key)
    worn_out = free.filter(attempts__gte=RunShard.MOST_ATTEMPTS)
    worn_out.filter(error="").update(error=_("Whoever scored it died of it, or was lost, each time."))
    worn_out.update(state=RunShard.State.FAILED, claim=None, claimed_at=None)
    shard = _claim_shard(free)
    if shard is None:
        return False
    try:
        _score_claimed(shard, progress)
    except Cancelled:
        scoring.forget_scorer(run.key)
        raise
    except (DatabaseError, SnapshotUnreadable):
        raise  # the shard is not to blame
    except Exception:
        logger.exception("Shard %s could not be scored at attempt %s.", shard, shard.attempts)
    return True


def score_shard(*, shard_id: int, progress: Progress = Progress()) -> None:
    """Write the recommendations of a shard's shoppers, all of them or none.

    Does nothing when the shard is scored, is gone, or is being scored by somebody else.

    Raises:
        ArtifactUnreadable, SnapshotUnreadable: a file that the run was planned with cannot be used.
    """
    shard = _claim_shard(RunShard.objects.free_at(database_now()).filter(pk=shard_id))
    if shard is not None:
        _score_claimed(shard, progress)


def _claim_shard(free: QuerySet[RunShard]) -> RunShard | None:
    """Take one of these shards. None if there is none that nobody else is taking."""
    with transaction.atomic():
        # Passed over are rows that somebody writes: also who was cut off from the database in the middle of it, whose
        # lock stays until the database finds out.
        candidates = free.order_by("attempts", "number").select_for_update(skip_locked=True, of=("self",))
        shard = candidates.first()
        if shard is not None:
            shard.claim, shard.claimed_at, shard.attempts = uuid.uuid4(), database_now(), shard.attempts + 1
            shard.save(update_fields=["claim", "claimed_at", "attempts"])
    return shard


def _score_claimed(shard: RunShard, progress: Progress) -> None:
    ours = RunShard.objects.filter(pk=shard.pk, claim=shard.claim)
    try:
        shard.run = Run.objects.get(pk=shard.run_id)  # as it is now: with or without what was allocated
        if shard.run.allocated_at is None:
            _score_pairs(shard, ours, progress)
        else:
            _list_allocated(shard, ours, progress)
    except BaseException as error:
        with suppress(DatabaseError):  # if it is away, the claim expires
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            _release_shard(shard, error)
        raise


def _score_pairs(shard: RunShard, ours: QuerySet[RunShard], progress: Progress) -> None:
    """Write the lists of a shard's shoppers; in a run within a budget the candidates for them."""
    blocks: list[pl.DataFrame] = []
    score_sums: list[pl.DataFrame] = []
    input_counts: list[list[int]] = []
    for block in scoring.score_blocks(shard, done=shard.number * SHARD_SHOPPERS, progress=progress):
        blocks.append(block.rows)
        if block.told is not None:
            score_sums.append(block.told.score_sums)
            input_counts = add_counts(input_counts, block.told.input_counts)
        if not ours.update(claimed_at=database_now()):
            return
    scored = {"score_sums": _add_up(score_sums), "input_counts": input_counts}
    with transaction.atomic():
        if not _mark_scored(ours, **scored):
            return
        if shard.run.is_allocated:
            write_candidates(shard=shard, blocks=blocks)
        else:
            _insert(blocks)


def _list_allocated(shard: RunShard, ours: QuerySet[RunShard], progress: Progress) -> None:
    """Write the lists that a shard's shoppers were allocated."""
    blocks: list[pl.DataFrame] = []
    for rows in scoring.list_blocks(shard, done=shard.number * SHARD_SHOPPERS, progress=progress):
        blocks.append(rows)
        if not ours.update(claimed_at=database_now()):
            return
    with transaction.atomic():
        if _mark_scored(ours):
            _insert(blocks)


def _mark_scored(ours: QuerySet[RunShard], **told: object) -> int:
    return ours.update(state=RunShard.State.SCORED, claim=None, claimed_at=None, error="", **told)


def _insert(blocks: Sequence[pl.DataFrame]) -> None:
    for rows in blocks:
        insert_frame(Recommendation, rows)


def _release_shard(shard: RunShard, error: BaseException) -> None:
    """Let others have a shard. Its attempts count only what may be its own fault."""
    ours = RunShard.objects.filter(pk=shard.pk, claim=shard.claim)
    if not isinstance(error, Exception) or isinstance(error, Cancelled | DatabaseError | SnapshotUnreadable):
        ours.update(claim=None, claimed_at=None, attempts=F("attempts") - 1)
        return
    state = RunShard.State.FAILED if shard.attempts >= RunShard.MOST_ATTEMPTS else RunShard.State.PENDING
    told = f"{type(error).__name__}: {error}"
    ours.update(claim=None, claimed_at=None, state=state, error=told)


def retry_failed_shards(*, run: Run) -> int:
    """Let the shards that could not be scored be tried anew, as often as at first, and return how many they are.

    Raises:
        WrongState: the run is not being computed.
    """
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)
        if locked.state != Run.State.COMPUTING:
            raise WrongState(locked, [Run.State.COMPUTING])
        failed = locked.shards.filter(state=RunShard.State.FAILED)
        return failed.update(state=RunShard.State.PENDING, attempts=0, error="", claim=None, claimed_at=None)


def refuse_failed_shards(*, run: Run) -> None:
    """
    Raises:
        ShardsFailed: some of the run's shards could not be scored; the message names the first of them.
    """
    failed = run.shards.filter(state=RunShard.State.FAILED).order_by("number")
    count = failed.count()
    if not count:
        return
    named = "; ".join(
        _("shard %(number)d (%(first)s to %(last)s): %(error)s")
        % {"number": shard.number, "first": shard.shopper_ids[0], "last": shard.shopper_ids[-1], "error": shard.error}
        for shard in failed[:FAILURES_NAMED]
    )
    raise ShardsFailed(
        _(
            "%(count)d of %(total)d shards of run %(run)s could not be scored; all others are. %(named)s. Score them "
            "again on the page of the run."
        )
        % {"count": count, "total": run.shards.count(), "run": run.pk, "named": named}
    )


def finish_run(*, run: Run, progress: Progress = Progress()) -> Run:
    """Estimate what a run would bring and hand it to review, once all its shards are scored.

    In a run within a budget the candidates of all shards are allocated first; its shards are then to be scored once
    more, which writes the lists, and the run goes on being computed.

    Does nothing before that, or when it is done, or while another process allocates.

    Raises:
        ShardsFailed: nothing is left to score but what could not be.
    """
    if not _pending_shards(run).exists():
        refuse_failed_shards(run=run)
        run.refresh_from_db()
        if run.is_allocated and run.allocated_at is None and run.state == Run.State.COMPUTING:
            allocate_run(run=run, progress=progress)
        elif run.state == Run.State.COMPUTING:
            count_anew(Recommendation)
            if _hand_to_review(run) and run.is_allocated:
                delete_candidates(key=run.key)
    run.refresh_from_db()
    return run


def _hand_to_review(run: Run) -> bool:
    """Whether it was this call that did."""
    with transaction.atomic():
        # Whoever scores the last shard at the same time waits, and finds it done.
        computing = Run.objects.select_for_update().filter(pk=run.pk, state=Run.State.COMPUTING).first()
        if computing is None or _pending_shards(run).exists():  # it was allocated a moment ago
            return False
        record_inputs(run=estimate_run(run=computing))
        _write_mean_scores(computing)
        Run.objects.filter(pk=run.pk).update(state=Run.State.DRAFTED)
    return True


def _write_mean_scores(run: Run) -> None:
    """How good each coupon is for a shopper of whom nothing is known: its mean score over all who were
    scored, or in a run of two stages over the shoppers all of whose pairs were."""
    sums: dict[str, tuple[int, float]] = {}
    of_sample = (run.retrieval or {}).get("score_sums", {})
    for of_shard in (of_sample, *run.shards.order_by("number").values_list("score_sums", flat=True)):
        for coupon_id, (shoppers, total) in of_shard.items():
            so_far = sums.get(coupon_id, (0, 0.0))
            sums[coupon_id] = (so_far[0] + shoppers, so_far[1] + total)
    rows = list(run.run_coupons.filter(coupon__coupon_id__in=sums).select_related("coupon"))
    for row in rows:
        shoppers, total = sums[row.coupon.coupon_id]
        row.mean_score = total / shoppers
    models.RunCoupon.objects.bulk_update(rows, ["mean_score"], batch_size=500)


def _pending_shards(run: Run) -> QuerySet[RunShard]:
    return run.shards.filter(state=RunShard.State.PENDING).order_by("number")


def _add_up(blocks: Sequence[pl.DataFrame]) -> dict[str, tuple[int, float]]:
    """How many scores each coupon has and what they come to, by its identifier, in its order."""
    if not blocks:
        return {}
    # Each block has all coupons in the same order. The first block comes first, for the sake of the last digits.
    counts = sum(block["count"] for block in blocks)
    totals = sum(block["sum"] for block in blocks)
    sums = blocks[0].select(c.COUPON_ID, counts, totals).sort(c.COUPON_ID)
    return {coupon_id: (count, total) for coupon_id, count, total in sums.iter_rows()}


# Review


def approve_run(*, run: Run, reviewed_by: models.User | None = None) -> Run:
    """Let a drafted run be published.

    Raises:
        WrongState: the run is not drafted.
        BeingCorrected: a job corrects it.
        OwnRun: the reviewer made it.
    """
    if reviewed_by is not None and not run.may_be_approved_by(reviewed_by):
        raise OwnRun(
            _("Run %(run)s was started by %(user)s, so somebody else has to approve it.")
            % {"run": run.pk, "user": reviewed_by}
        )
    return _review(run, [Run.State.DRAFTED], Run.State.APPROVED, reviewed_by)


def reject_run(*, run: Run, reviewed_by: models.User | None = None) -> Run:
    """Keep a drafted or approved run from ever being published.

    Raises:
        WrongState: the run is neither.
        BeingCorrected: a job corrects it.
    """
    return _review(run, [Run.State.DRAFTED, Run.State.APPROVED], Run.State.REJECTED, reviewed_by)


def _review(run: Run, expected: Sequence[Run.State], state: Run.State, reviewed_by: models.User | None) -> Run:
    refuse_while_corrected(run=run)
    changed = Run.objects.filter(pk=run.pk, state__in=expected).update(
        state=state, reviewed_by=reviewed_by, reviewed_at=timezone.now()
    )
    run.refresh_from_db()
    if not changed:
        raise WrongState(run, expected)
    return run
