"""Lists of some of a run's shoppers: read, scored and made into rows, some shoppers at a time.

A run's plan and its shards are in :mod:`recommender.services.runs`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
import polars as pl
from django.db.models import Exists, OuterRef, QuerySet

from recommender import models
from recommender.ml import columns as c
from recommender.ml.contract import Algorithm
from recommender.ml.devices import CouponsForDevices
from recommender.ml.narration import Narrator
from recommender.ml.projects import ProjectsOfCoupons
from recommender.ml.purchases import forget_purchases
from recommender.ml.retrieval import Retrieval
from recommender.models import Run, RunShard
from recommender.progress import Progress
from recommender.services import first_stage
from recommender.services.allocation import NUMBER, read_lists
from recommender.services.budgeting import BudgetTerms
from recommender.services.exploration import exploration_of
from recommender.services.input_drift import learned_inputs_of
from recommender.services.new_uses import read_new_shares
from recommender.services.scorer import Block, Scorer
from recommender.services.shared_files import find_file
from recommender.services.snapshot import open_snapshot
from recommender.wording import gettext as _

#: By the key of its run: the one that this process is at.
_prepared: dict[str, Scorer] = {}


def prepare_scorer(key: str) -> Scorer:
    """Prepare a run, which its key names, once in a process.

    Raises:
        ArtifactUnreadable, SnapshotUnreadable: a file that the run was planned with cannot be used.
    """
    scorer = _prepared.get(key)
    if scorer is None:
        forget_scorer()
        scorer = _prepared[key] = _prepare_scorer(key)
    return scorer


def forget_scorer(key: str | None = None) -> None:
    """Let go of what was prepared for a run, or for whichever, and of the purchases that it was made of. The next run
    does it first: two of a large shop would not fit into memory."""
    if key is None or key in _prepared:
        _prepared.clear()
        forget_purchases()


def forget_finished() -> None:
    """Let go of what was prepared for a run that is not computed any more, or whose job was cancelled."""
    computing = Run.objects.filter(key__in=list(_prepared), state=Run.State.COMPUTING)
    if not computing.exclude(job__state=models.Job.State.CANCELLED).exists():
        forget_scorer()


def _prepare_scorer(key: str) -> Scorer:
    run = Run.objects.select_related("model_version", "snapshot", "learned_inputs").get(key=key)
    algorithm = load_algorithm(run.model_version)
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
    terms = BudgetTerms.of(run)
    taught_by = terms.taught_by if terms is not None else {}
    scorer = Scorer(
        algorithm=algorithm,
        described=cache(partial(algorithm.inputs.prepare, history, coupons[c.COUPON])),
        narrator=Narrator(history, coupons[c.COUPON]),
        shoppers=snapshot.scan("shoppers").select(c.SHOPPER, c.SHOPPER_ID).collect(),
        coupons=coupons,
        learned=learned_inputs_of(run),
        devices=CouponsForDevices(history, coupons[c.COUPON]),
        projects=ProjectsOfCoupons(history, coupons[c.COUPON]),
        terms=terms,
        new_shares=read_new_shares(history=history, taught_by=taught_by) if taught_by else None,
        exploration=exploration_of(run, coupons[c.COUPON_ID]),
    )
    if run.allocated_at is None:
        scorer.described()  # before a shard is taken, which would be blamed for a file that cannot be read
    return replace(scorer, retrieval=_find_retrieval(run, scorer))


def _find_retrieval(run: Run, scorer: Scorer) -> Retrieval | None:
    """What chooses the pairs of a run that are scored; None where all are.

    Whoever comes first decides for all: another processor may round differently.
    """
    if run.retrieval is None:
        begun = run.shards.filter(state=RunShard.State.SCORED).exists()  # by a version that scored every pair
        sample = None if begun else _sample_shoppers(run, scorer)
        chosen = {} if sample is None else first_stage.choose_pairs(scorer, sample, run)
        Run.objects.filter(pk=run.pk, retrieval__isnull=True).update(retrieval=chosen)
        run.refresh_from_db(fields=["retrieval"])
    return Retrieval(**run.retrieval["first_stage"]) if run.retrieval else None


def _sample_shoppers(run: Run, scorer: Scorer) -> pl.DataFrame | None:
    """Shoppers of a run, spread evenly over it; None where it is not worth two stages."""
    shopper_ids = _audience(run)
    if not first_stage.is_worth_two_stages(len(shopper_ids), scorer.coupons.height, run.top):
        return None
    sample = _find_shoppers(run, scorer, _spread(shopper_ids, first_stage.SAMPLE_SHOPPERS))
    return sample.select(c.SHOPPER, c.SHOPPER_ID) if sample.height >= first_stage.SAMPLE_SHOPPERS // 2 else None


def measure_kept_share(*, run: Run, shoppers: int) -> tuple[float, int]:
    """Of what stands on the lists of some of a run's shoppers when every pair is scored, the share that its first stage
    keeps; and how many shoppers these were, evenly spread and other than those whom it was learned from."""
    scorer = prepare_scorer(run.key)
    shopper_ids = _audience(run)
    learned_from = set(_spread(shopper_ids, first_stage.SAMPLE_SHOPPERS)) if run.retrieval else set()
    others = [each for each in shopper_ids if each not in learned_from]
    sample = _find_shoppers(run, scorer, _spread(others, shoppers))
    prices = (run.retrieval or {}).get("prices")
    kept = total = 0
    for part in sample.iter_slices(replace(scorer, retrieval=None).block_shoppers):
        of_part = first_stage.count_kept(scorer, part.select(c.SHOPPER, c.SHOPPER_ID), run.top, prices)
        kept, total = kept + of_part[0], total + of_part[1]
    return kept / total, sample.height


def describe_some(*, run: Run, shoppers: int) -> np.ndarray:
    """(pairs, inputs): what a run's algorithm sees of some of its shoppers, evenly spread, with every coupon."""
    scorer = prepare_scorer(run.key)
    sample = _find_shoppers(run, scorer, _spread(_audience(run), shoppers))
    return (
        scorer.described()
        .describe(sample.select(c.SHOPPER).join(scorer.coupons.select(c.COUPON), how="cross"))
        .to_numpy()
    )


def _audience(run: Run) -> list[str]:
    return [each for ids in run.shards.order_by("number").values_list("shopper_ids", flat=True) for each in ids]


def _spread(shopper_ids: Sequence[str], most: int) -> list[str]:
    """So many of them, evenly spread, or all."""
    if len(shopper_ids) <= most:
        return list(shopper_ids)
    return [shopper_ids[place] for place in np.linspace(0, len(shopper_ids) - 1, most).round().astype(np.int64)]


def _find_shoppers(run: Run, scorer: Scorer, shopper_ids: Sequence[str]) -> pl.DataFrame:
    """Those of some shoppers who are to be scored, by their number: shopper, shopper_id and key.

    Whoever opted out or was held out since the run was planned gets nothing.
    """
    held_out = models.CampaignShopper.objects.filter(
        campaign=run.campaign_id, shopper=OuterRef("pk"), group=models.CampaignShopper.Group.CONTROL
    )
    keys = models.Shopper.objects.addressable().filter(~Exists(held_out), shopper_id__in=shopper_ids)
    return scorer.shoppers.join(_frame_of_keys(keys, c.SHOPPER_ID), on=c.SHOPPER_ID).sort(c.SHOPPER)


def load_algorithm(version: models.ModelVersion) -> Algorithm:
    from recommender.ml import artifact  # costs a second, which review and publishing do without

    return artifact.load(find_file(version.artifact), version.artifact_digest)


def score_blocks(shard: RunShard, *, done: int, progress: Progress) -> Iterator[Block]:
    """A shard scored, some shoppers at a time: the rows of recommendations, or in a run within a budget candidates for
    them as its files hold them; and what is told of all pairs.

    Args:
        done: how many shoppers come before the shard's.
    """
    scorer = prepare_scorer(shard.run.key)
    shoppers = _find_shoppers(shard.run, scorer, shard.shopper_ids)
    coupons = _coupon_keys(scorer)
    for part in shoppers.iter_slices(scorer.block_shoppers):
        progress.report(_("Scoring shoppers"), done, shard.run.shopper_count)
        block = scorer.recommend(part.select(c.SHOPPER, c.SHOPPER_ID), shard.run.top)
        if scorer.terms is None:
            rows = _as_recommendations(shard, block.rows, shoppers, coupons)
        else:
            rows = block.rows.join(shoppers.select(c.SHOPPER, shopper_key="key"), on=c.SHOPPER, maintain_order="left")
        yield replace(block, rows=rows)
        done += part.height


def list_blocks(shard: RunShard, *, done: int, progress: Progress) -> Iterator[pl.DataFrame]:
    """The rows of recommendations of a shard whose run was allocated, some shoppers at a time.

    Whoever opted out or was held out meanwhile gets nothing.
    """
    scorer = prepare_scorer(shard.run.key)
    terms = scorer.terms
    if terms is None:
        raise ValueError(f"Run {shard.run_id} is not within a budget.")
    shoppers = _find_shoppers(shard.run, scorer, shard.shopper_ids)
    coupons = _coupon_keys(scorer)
    numbers = (
        pl.DataFrame({c.COUPON_ID: terms.coupon_ids}).with_row_index(NUMBER).with_columns(pl.col(NUMBER).cast(pl.Int64))
    )
    lists = (
        read_lists(shard=shard)
        .join(numbers, on=NUMBER)
        .join(scorer.coupons.select(c.COUPON, c.COUPON_ID), on=c.COUPON_ID)
    )
    for part in shoppers.iter_slices(scorer.block_shoppers):
        progress.report(_("Writing lists"), done, shard.run.shopper_count)
        allocated = lists.join(part.rename({"key": "shopper_key"}), on="shopper_key")
        if allocated.height:
            yield _as_recommendations(shard, scorer.write_lists(allocated), shoppers, coupons)
        done += part.height


def _as_recommendations(
    shard: RunShard, rows: pl.DataFrame, shoppers: pl.DataFrame, coupons: pl.DataFrame
) -> pl.DataFrame:
    return (
        rows.join(shoppers.select(c.SHOPPER_ID, shopper_key="key"), on=c.SHOPPER_ID, maintain_order="left")
        .join(coupons.select(c.COUPON_ID, coupon_key="key"), on=c.COUPON_ID, maintain_order="left")
        .select(
            pl.lit(shard.run_id).alias("run_id"),
            pl.col("shopper_key").alias("shopper_id"),
            pl.col("coupon_key").alias("coupon_id"),
            c.RANK,
            c.SCORE,
            "propensity",
            "reasons",
            pl.lit(False).alias("excluded"),
        )
    )


def _coupon_keys(scorer: Scorer) -> pl.DataFrame:
    coupons = models.Coupon.objects.filter(coupon_id__in=scorer.coupons[c.COUPON_ID].to_list())
    return _frame_of_keys(coupons, c.COUPON_ID)


def _frame_of_keys(queryset: QuerySet, identifier: str) -> pl.DataFrame:
    return pl.DataFrame(
        list(queryset.values_list(identifier, "pk")), schema={identifier: pl.String, "key": pl.Int64}, orient="row"
    )
