"""Runs: who is to be recommended which coupons in a campaign, computed shard by shard, then reviewed by staff."""

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from recommender import models
from recommender.bulk import insert_frame
from recommender.clock import database_now
from recommender.ml import columns as c
from recommender.ml.contract import Algorithm, DescribedHistory, Sketch
from recommender.ml.input_drift import LearnedInput, add_counts, count_inputs
from recommender.ml.narration import Narrator
from recommender.ml.retrieval import MOST_KEPT, Retrieval, learn_retrieval
from recommender.models import Recommendation, Run, RunShard
from recommender.progress import Cancelled, Progress
from recommender.services.assignment import is_for_everyone, record_assignment
from recommender.services.correction_jobs import refuse_while_corrected
from recommender.services.estimates import estimate_run
from recommender.services.input_drift import choose_reference, learned_inputs_of, record_inputs
from recommender.services.shared_files import find_file
from recommender.services.snapshot import open_snapshot, take_snapshot
from recommender.wording import gettext as _
from recommender.wording import sentence_of

logger = logging.getLogger(__name__)

MOST_COUPONS = 1_000  # on a shopper's list
SHARD_SHOPPERS = 2_000
BLOCK_PAIRS = 250_000  # described at once; what bounds the memory
#: Shoppers that a run's first stage is learned from and measured on. Half of them tell a kept share of 99.5 % to some
#: 0.2 %, and what each coupon scores on the mean to a few hundredths of itself.
SAMPLE_SHOPPERS = 2_000
FEWEST_SHOPPERS = 4 * SAMPLE_SHOPPERS  # of a run in two stages
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

    Raises:
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
    coupon_ids = _find_coupons(campaign, as_of)
    assignment = record_assignment(campaign=campaign, at=as_of)
    shopper_ids = _find_audience(campaign)
    version = _find_version(algorithm, as_of, job, progress)
    _load_algorithm(version)  # while a person waits for the plan, not when a worker comes to the first shard
    snapshot = take_snapshot(progress=progress)
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
                "retrieval": None if _is_worth_two_stages(len(shopper_ids), len(coupon_ids), top) else {},
                "created_by": created_by,
                "job": job,
            },
        )
        if is_new:
            RunShard.objects.bulk_create(
                RunShard(run=run, number=number, shopper_ids=shopper_ids[start : start + SHARD_SHOPPERS])
                for number, start in enumerate(range(0, len(shopper_ids), SHARD_SHOPPERS))
            )
    return _decide_stages(run, progress)


def _is_worth_two_stages(shoppers: int, coupons: int, top: int) -> bool:
    """Whether it may save anything to choose the coupons that are scored: lists are short beside the coupons, and the
    shoppers that this is learned from are few beside the others."""
    return shoppers >= FEWEST_SHOPPERS and top < MOST_KEPT * coupons


def _decide_stages(run: Run, progress: Progress) -> Run:
    """Learn which pairs of a new run are worth scoring, before workers are called to it."""
    if run.state == Run.State.COMPUTING and run.retrieval is None:
        progress.report(_("Learning which coupons are worth scoring for whom"))
        _prepare_scorer(run.key)
        run.refresh_from_db(fields=["retrieval"])
    return run


def _find_coupons(campaign: models.Campaign, as_of: datetime) -> list[str]:
    """The campaign's active coupons that hold at some moment of what remains of its window."""
    opens = max(as_of, campaign.starts_at)
    if opens >= campaign.ends_at:
        raise NothingToRecommend(
            _("Campaign %(campaign)s ended at %(ended)s; at %(as_of)s nothing of it is left.")
            % {"campaign": campaign.campaign_id, "ended": campaign.ends_at, "as_of": as_of}
        )
    coupon_ids = campaign.coupons.filter(
        Q(starts_at__isnull=True) | Q(starts_at__lt=campaign.ends_at),
        Q(ends_at__isnull=True) | Q(ends_at__gt=opens),
        active=True,
    ).values_list("coupon_id", flat=True)
    if not coupon_ids:
        raise NothingToRecommend(
            _("Campaign %(campaign)s has no active coupon that holds in its window.")
            % {"campaign": campaign.campaign_id}
        )
    return sorted(coupon_ids)


def _find_audience(campaign: models.Campaign) -> list[str]:
    """Its treatment shoppers, or everyone but its control where it is for everyone; nobody who opted out."""
    shoppers = models.Shopper.objects.addressable()
    if is_for_everyone(campaign=campaign):
        held_out = campaign.campaign_shoppers.filter(group=models.CampaignShopper.Group.CONTROL)
        shoppers = shoppers.exclude(pk__in=held_out.values("shopper"))
    else:
        sent = campaign.campaign_shoppers.filter(group=models.CampaignShopper.Group.TREATMENT)
        shoppers = shoppers.filter(pk__in=sent.values("shopper"))
    shopper_ids = sorted(shoppers.values_list("shopper_id", flat=True))
    if not shopper_ids:
        raise NothingToRecommend(
            _("Campaign %(campaign)s has no shopper who may be offered anything.") % {"campaign": campaign.campaign_id}
        )
    return shopper_ids


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
            _load_algorithm(version)
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
) -> str:
    """A digest of everything that decides what a run comes to."""
    moment = as_of.timestamp()
    decides = [snapshot.fingerprint, version.key, campaign.campaign_id, moment, top, shopper_ids, coupon_ids]
    if assigned_at is not None:  # what was planned before the audience was decided anew cannot be published any more
        decides.append(assigned_at.timestamp())
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


# Scoring


def compute_run(*, run: Run, progress: Progress = Progress()) -> Run:
    """Score all that is left of a run in this process, and finish it.

    Raises:
        ShardsFailed: some shards could not be scored; the others are.
    """
    while _pending_shards(run).exists():
        if not score_next_shard(run=run, progress=progress):
            progress.report(_("Waiting for shards that another process scores"))
            time.sleep(1)
    return finish_run(run=run)


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
        return False
    _prepare_scorer(run.key)
    worn_out = free.filter(attempts__gte=RunShard.MOST_ATTEMPTS)
    worn_out.filter(error="").update(error=_("Whoever scored it died of it, or was lost, each time."))
    worn_out.update(state=RunShard.State.FAILED, claim=None, claimed_at=None)
    shard = _claim_shard(free)
    if shard is None:
        return False
    try:
        _score_claimed(shard, progress)
    except (Cancelled, DatabaseError):
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
        recommendations: list[pl.DataFrame] = []
        score_sums: list[pl.DataFrame] = []
        input_counts: list[list[int]] = []
        for block in _score_blocks(shard, progress):
            recommendations.append(block.rows)
            if block.told is not None:
                score_sums.append(block.told.score_sums)
                input_counts = _add_counts(input_counts, block.told.input_counts)
            if not ours.update(claimed_at=database_now()):
                return
        scored = {"score_sums": _add_up(score_sums), "input_counts": input_counts, "error": ""}
        with transaction.atomic():
            if ours.update(state=RunShard.State.SCORED, claim=None, claimed_at=None, **scored):
                for rows in recommendations:
                    insert_frame(Recommendation, rows)
    except BaseException as error:
        with suppress(DatabaseError):  # if it is away, the claim expires
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            _release_shard(shard, error)
        raise


def _release_shard(shard: RunShard, error: BaseException) -> None:
    """Let others have a shard. Its attempts count only what may be its own fault."""
    ours = RunShard.objects.filter(pk=shard.pk, claim=shard.claim)
    if not isinstance(error, Exception) or isinstance(error, Cancelled | DatabaseError):
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


def finish_run(*, run: Run) -> Run:
    """Estimate what a run would bring and hand it to review, once all its shards are scored.

    Does nothing before that, or when it is done.

    Raises:
        ShardsFailed: nothing is left to score but what could not be.
    """
    if not _pending_shards(run).exists():
        refuse_failed_shards(run=run)
        with transaction.atomic():
            # Whoever scores the last shard at the same time waits, and finds it done.
            computing = Run.objects.select_for_update().filter(pk=run.pk, state=Run.State.COMPUTING).first()
            if computing is not None:
                record_inputs(run=estimate_run(run=computing))
                _write_mean_scores(computing)
                Run.objects.filter(pk=run.pk).update(state=Run.State.DRAFTED)
    run.refresh_from_db()
    return run


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


@dataclass(frozen=True)
class _Told:
    """What is told of all pairs of some shoppers, listed or not.

    Attributes:
        score_sums: coupon_id, count and sum of the scores of each coupon.
        input_counts: by learned input and bin, their pairs.
    """

    score_sums: pl.DataFrame
    input_counts: list[list[int]]


@dataclass(frozen=True)
class _Block:
    """Some shoppers scored.

    Attributes:
        rows: their lists: shopper, coupon, rank, score and reasons (JSON).
        told: None where not all pairs are scored.
    """

    rows: pl.DataFrame
    told: _Told | None


@dataclass(frozen=True)
class _Scorer:
    """What all shards of a run share."""

    algorithm: Algorithm
    history: DescribedHistory
    narrator: Narrator
    shoppers: pl.DataFrame  # shopper, shopper_id
    coupons: pl.DataFrame  # coupon, coupon_id, offer
    learned: list[LearnedInput]  # what the inputs are compared with
    retrieval: Retrieval | None = None  # without it every pair is scored

    @property
    def block_shoppers(self) -> int:
        """How many shoppers are described at once."""
        return max(1, BLOCK_PAIRS // (self.coupons.height if self.retrieval is None else self.retrieval.kept_coupons))

    def recommend(self, shoppers: pl.DataFrame, top: int) -> "_Block":
        """The lists of some shoppers, and what is told of all their pairs."""
        if self.retrieval is None:
            scored, inputs = self._score_all(shoppers)
        else:
            chosen = self.history.describe_chosen(shoppers[c.SHOPPER], self.retrieval.choose)
            pairs = chosen.pairs.join(shoppers, on=c.SHOPPER, maintain_order="left")
            scored = self._score(pairs.join(self.coupons, on=c.COUPON, maintain_order="left"), chosen.inputs)
            inputs = chosen.inputs
        lists = _list_best(scored, top)
        explained = self.narrator.tell(lists, self.algorithm.explain(inputs[lists["pair"]]))
        reasons = [json.dumps(of_pair, cls=DjangoJSONEncoder) for of_pair in explained]
        told = pl.Series("reasons", reasons, dtype=pl.String)
        return _Block(
            rows=lists.select(c.SHOPPER_ID, c.COUPON_ID, c.RANK, c.SCORE, told),
            told=self._tell(scored, inputs) if self.retrieval is None else None,
        )

    def choose_pairs(self, shoppers: pl.DataFrame, top: int) -> dict[str, Any]:
        """What :attr:`Run.retrieval` keeps: learned from some shoppers, all of whose pairs are scored for it."""
        sketches: list[Sketch] = []
        scores, listed = [], []
        counts: list[list[int]] = []
        for part in shoppers.iter_slices(self.block_shoppers):
            sketch = self.history.sketch(part[c.SHOPPER])
            if sketch is None:
                return {}
            scored, inputs = self._score_all(part)
            on_list = np.zeros(scored.height, dtype=bool)
            on_list[_list_best(scored, top)["pair"]] = True
            sketches.append(sketch)
            scores.append(scored[c.SCORE].to_numpy().reshape(part.height, -1))
            listed.append(on_list.reshape(part.height, -1))
            counts = _add_counts(counts, count_inputs(inputs, self.learned))
        together = {name: np.concatenate([sketch[name] for sketch in sketches]) for name in sketches[0]}
        all_scores = np.concatenate(scores)
        retrieval = learn_retrieval(together, all_scores, np.concatenate(listed))
        if retrieval is None:
            return {}
        sums = zip(self.coupons[c.COUPON_ID], all_scores.sum(axis=0).tolist(), strict=True)
        return {
            "first_stage": retrieval.as_json(),
            "score_sums": {coupon_id: (len(all_scores), total) for coupon_id, total in sums},
            "input_counts": counts,
        }

    def kept_listed(self, shoppers: pl.DataFrame, top: int) -> tuple[int, int]:
        """Of what stands on some shoppers' lists when every pair is scored, how much the first stage keeps, and all."""
        scored, _inputs = self._score_all(shoppers)
        on_list = np.zeros(scored.height, dtype=bool)
        on_list[_list_best(scored, top)["pair"]] = True
        listed = on_list.reshape(shoppers.height, -1)
        sketch = None if self.retrieval is None else self.history.sketch(shoppers[c.SHOPPER])
        if self.retrieval is None or sketch is None:
            return int(listed.sum()), int(listed.sum())
        kept = np.take_along_axis(listed, self.retrieval.choose(sketch), axis=1)
        return int(kept.sum()), int(listed.sum())

    def _score_all(self, shoppers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Every pair of some shoppers, with its score, and its inputs."""
        pairs = shoppers.join(self.coupons, how="cross")
        inputs = self.history.describe(pairs.select(c.SHOPPER, c.COUPON))
        return self._score(pairs, inputs), inputs

    def _score(self, pairs: pl.DataFrame, inputs: pl.DataFrame) -> pl.DataFrame:
        # Equal scores are ordered by chance, a new one for each pair: by their identifiers the same coupon would
        # always win.
        chance = pl.concat_str(c.SHOPPER_ID, c.COUPON_ID, separator="\0").hash(seed=0)
        scores = pl.Series(c.SCORE, self.algorithm.score(inputs))
        return pairs.with_row_index("pair").with_columns(scores, chance.alias("chance"))

    def _tell(self, scored: pl.DataFrame, inputs: pl.DataFrame) -> _Told:
        # One pair after the other: sums of a group in polars differ in their last digits with the number of threads.
        most = int(self.coupons[c.COUPON].max()) + 1  # type: ignore[arg-type]
        sums = self.coupons.select(
            c.COUPON_ID,
            pl.Series("count", np.bincount(scored[c.COUPON], minlength=most)[self.coupons[c.COUPON]]),
            pl.Series("sum", np.bincount(scored[c.COUPON], scored[c.SCORE], most)[self.coupons[c.COUPON]]),
        )
        return _Told(sums, count_inputs(inputs, self.learned))


def _list_best(scored: pl.DataFrame, top: int) -> pl.DataFrame:
    """The best pairs of each shopper, the same offer once, ranked."""
    return (
        scored.sort(c.SCORE, "chance", descending=[True, False])
        .unique([c.SHOPPER, "offer"], keep="first", maintain_order=True)
        .with_columns(pl.int_range(1, pl.len() + 1).over(c.SHOPPER).alias(c.RANK))
        .filter(pl.col(c.RANK) <= top)
        .sort(c.SHOPPER, c.RANK)
    )


@lru_cache(maxsize=1)
def _prepare_scorer(key: str) -> _Scorer:
    """Prepare a run, which its key names, once in a process."""
    run = Run.objects.select_related("model_version", "snapshot", "learned_inputs").get(key=key)
    algorithm = _load_algorithm(run.model_version)
    snapshot = open_snapshot(snapshot=run.snapshot)
    # The same offer in another guise stands once on a list; a coupon without an offer stands for itself.
    offer = (
        pl.when(pl.col(c.OFFER_ID) == "")
        .then(pl.concat_str(pl.lit("coupon "), c.COUPON_ID))
        .otherwise(pl.concat_str(pl.lit("offer "), c.OFFER_ID))
    )
    coupons = (
        snapshot.scan("coupons")
        .filter(pl.col(c.COUPON_ID).is_in(run.coupon_ids))
        .select(c.COUPON, c.COUPON_ID, offer.alias("offer"))
        .sort(c.COUPON)
        .collect()
    )
    history = snapshot.before(run.as_of)
    scorer = _Scorer(
        algorithm=algorithm,
        history=algorithm.inputs.prepare(history, coupons[c.COUPON]),
        narrator=Narrator(history, coupons[c.COUPON]),
        shoppers=snapshot.scan("shoppers").select(c.SHOPPER, c.SHOPPER_ID).collect(),
        coupons=coupons,
        learned=learned_inputs_of(run),
    )
    return replace(scorer, retrieval=_find_retrieval(run, scorer))


def _find_retrieval(run: Run, scorer: _Scorer) -> Retrieval | None:
    """What chooses the pairs of a run that are scored; None where all are.

    Whoever comes first decides for all: another processor may round differently.
    """
    if run.retrieval is None:
        begun = run.shards.filter(state=RunShard.State.SCORED).exists()  # by a version that scored every pair
        sample = None if begun else _sample_shoppers(run, scorer)
        chosen = {} if sample is None else scorer.choose_pairs(sample, run.top)
        Run.objects.filter(pk=run.pk, retrieval__isnull=True).update(retrieval=chosen)
        run.refresh_from_db(fields=["retrieval"])
    return Retrieval(**run.retrieval["first_stage"]) if run.retrieval else None


def _sample_shoppers(run: Run, scorer: _Scorer) -> pl.DataFrame | None:
    """Shoppers of a run, spread evenly over it; None where it is not worth two stages."""
    shopper_ids = _audience(run)
    if not _is_worth_two_stages(len(shopper_ids), scorer.coupons.height, run.top):
        return None
    sample = _find_shoppers(run, scorer, _spread(shopper_ids, SAMPLE_SHOPPERS))
    return sample.select(c.SHOPPER, c.SHOPPER_ID) if sample.height >= SAMPLE_SHOPPERS // 2 else None


def measure_kept_share(*, run: Run, shoppers: int) -> tuple[float, int]:
    """Of what stands on the lists of some of a run's shoppers when every pair is scored, the share that its first stage
    keeps; and how many shoppers these were, evenly spread and other than those whom it was learned from."""
    scorer = _prepare_scorer(run.key)
    shopper_ids = _audience(run)
    learned_from = set(_spread(shopper_ids, SAMPLE_SHOPPERS)) if run.retrieval else set()
    others = [each for each in shopper_ids if each not in learned_from]
    sample = _find_shoppers(run, scorer, _spread(others, shoppers))
    kept = total = 0
    for part in sample.iter_slices(max(1, BLOCK_PAIRS // scorer.coupons.height)):
        of_part = scorer.kept_listed(part.select(c.SHOPPER, c.SHOPPER_ID), run.top)
        kept, total = kept + of_part[0], total + of_part[1]
    return kept / total, sample.height


def describe_some(*, run: Run, shoppers: int) -> np.ndarray:
    """(pairs, inputs): what a run's algorithm sees of some of its shoppers, evenly spread, with every coupon."""
    scorer = _prepare_scorer(run.key)
    sample = _find_shoppers(run, scorer, _spread(_audience(run), shoppers))
    return scorer.history.describe(
        sample.select(c.SHOPPER).join(scorer.coupons.select(c.COUPON), how="cross")
    ).to_numpy()


def _audience(run: Run) -> list[str]:
    return [each for ids in run.shards.order_by("number").values_list("shopper_ids", flat=True) for each in ids]


def _spread(shopper_ids: Sequence[str], most: int) -> list[str]:
    """So many of them, evenly spread, or all."""
    if len(shopper_ids) <= most:
        return list(shopper_ids)
    return [shopper_ids[place] for place in np.linspace(0, len(shopper_ids) - 1, most).round().astype(np.int64)]


def _find_shoppers(run: Run, scorer: _Scorer, shopper_ids: Sequence[str]) -> pl.DataFrame:
    """Those of some shoppers who are to be scored, by their number: shopper, shopper_id and key.

    Whoever opted out or was held out since the run was planned gets nothing.
    """
    held_out = models.CampaignShopper.objects.filter(
        campaign=run.campaign_id, shopper=OuterRef("pk"), group=models.CampaignShopper.Group.CONTROL
    )
    keys = models.Shopper.objects.addressable().filter(~Exists(held_out), shopper_id__in=shopper_ids)
    return scorer.shoppers.join(_frame_of_keys(keys, c.SHOPPER_ID), on=c.SHOPPER_ID).sort(c.SHOPPER)


def _load_algorithm(version: models.ModelVersion) -> Algorithm:
    from recommender.ml import artifact  # costs a second, which review and publishing do without

    return artifact.load(find_file(version.artifact), version.artifact_digest)


def _score_blocks(shard: RunShard, progress: Progress) -> Iterator[_Block]:
    """A shard scored, some shoppers at a time: the rows of recommendations, and what is told of all pairs."""
    scorer = _prepare_scorer(shard.run.key)
    coupon_keys = models.Coupon.objects.filter(coupon_id__in=scorer.coupons[c.COUPON_ID].to_list())
    shoppers = _find_shoppers(shard.run, scorer, shard.shopper_ids)
    coupons = _frame_of_keys(coupon_keys, c.COUPON_ID)
    done = shard.number * SHARD_SHOPPERS
    for part in shoppers.iter_slices(scorer.block_shoppers):
        progress.report(_("Scoring shoppers"), done, shard.run.shopper_count)
        block = scorer.recommend(part.select(c.SHOPPER, c.SHOPPER_ID), shard.run.top)
        rows = (
            block.rows.join(shoppers.select(c.SHOPPER_ID, shopper_key="key"), on=c.SHOPPER_ID, maintain_order="left")
            .join(coupons.select(c.COUPON_ID, coupon_key="key"), on=c.COUPON_ID, maintain_order="left")
            .select(
                pl.lit(shard.run_id).alias("run_id"),
                pl.col("shopper_key").alias("shopper_id"),
                pl.col("coupon_key").alias("coupon_id"),
                c.RANK,
                c.SCORE,
                "reasons",
                pl.lit(False).alias("excluded"),
            )
        )
        yield replace(block, rows=rows)
        done += part.height


def _add_counts(one: list[list[int]], other: list[list[int]]) -> list[list[int]]:
    return add_counts(one, other) if one else other


def _add_up(blocks: Sequence[pl.DataFrame]) -> dict[str, tuple[int, float]]:
    """How many scores each coupon has and what they come to, by its identifier, in its order."""
    if not blocks:
        return {}
    # Each block has all coupons in the same order. The first block comes first, for the sake of the last digits.
    counts = sum(block["count"] for block in blocks)
    totals = sum(block["sum"] for block in blocks)
    sums = blocks[0].select(c.COUPON_ID, counts, totals).sort(c.COUPON_ID)
    return {coupon_id: (count, total) for coupon_id, count, total in sums.iter_rows()}


def _frame_of_keys(queryset: QuerySet, identifier: str) -> pl.DataFrame:
    return pl.DataFrame(
        list(queryset.values_list(identifier, "pk")), schema={identifier: pl.String, "key": pl.Int64}, orient="row"
    )


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
