"""The lists of a run within a budget: candidates of all shards, allocated together, and who gets what of them.

Workers write what might stand on the lists of a shard's shoppers to a file. Once all have, one of them reads the files
as often as the method asks for and writes a file of lists for each shard, which workers then explain and store. The
files lie in a folder that the run's key names and go when the lists are stored.
"""

import io
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from django.db import connection, transaction
from django.db.models import Q

from recommender.clock import database_now
from recommender.ml import columns as c
from recommender.ml.allocation import (
    MICRO,
    NO_LIMIT,
    Allocation,
    CandidateBlock,
    Curve,
    Floor,
    Resource,
    Terms,
    draw_curve,
)
from recommender.ml.allocation import allocate as allocate_candidates
from recommender.models import Recommendation, Run, RunShard
from recommender.progress import Progress
from recommender.services.budgeting import BudgetTerms, places_promised
from recommender.services.new_uses import NEW_SHARE
from recommender.services.shared_files import delete_folder, find_file, folder_of_run, write_file
from recommender.wording import gettext as _

#: Candidates of a shopper by what they bring, and as many by what they bring for their cost: several times as many as
#: stand on a list, since those of a full budget are passed over.
FEWEST_CANDIDATES = 30
CANDIDATES_A_PLACE = 3
#: Where sellers are promised places, so many times as many candidates of each.
CANDIDATES_OF_SELLER = 4
#: A sign of life is written no more often than this.
ALIVE_SECONDS = 20

NUMBER, VALUE, COST, USES, SEGMENTS = "number", "value", "cost", "uses", "segments"
_COLUMNS = {"shopper_key": pl.Int64, NUMBER: pl.Int64, VALUE: pl.Int64, COST: pl.Int64, USES: pl.Int64}
#: Columns of candidates that begin so are inputs of the algorithm.
INPUT = "input "
_BITS = {c.SHOPPER_ID: pl.String, SEGMENTS: pl.UInt64}


def count_candidates(top: int) -> int:
    """How many of a shopper's pairs are candidates by each of the two orders, for lists of at most ``top``."""
    return max(FEWEST_CANDIDATES, CANDIDATES_A_PLACE * top)


def most_candidates(terms: BudgetTerms, top: int) -> int:
    """How many candidates a shopper has at most."""
    orders = 3 if terms.floor_segments else 2
    of_sellers = CANDIDATES_OF_SELLER * top if terms.seller_coupons else 0  # on the mean, which is all that this is for
    return orders * (2 if terms.one_per_category else 1) * count_candidates(top) + of_sellers


def find_candidates(scored: pl.DataFrame, terms: BudgetTerms, top: int) -> pl.DataFrame:
    """The pairs of each shopper that bring most, and that bring most for their cost; none that brings nothing.

    Where a list has one coupon of a category, as many again that are the best of their group, by each order: the others
    may all be of a few categories. Where segments are promised uses, also the pairs that are used most, whatever they
    bring. Where sellers are promised places, also several times as many pairs of each seller as it is promised of these
    shoppers' places: those that lose least in the place of what would stand there.

    Args:
        scored: columns ``shopper``, ``coupon_id``, ``score`` and ``chance``, by which equals are ordered; and where
            the terms were taught whose uses are new, the share of the shopper's that is, ``new_share``.

    Returns:
        Those rows with the coupon's number and what the pair brings, costs and takes of uses, in whole units: what it
        brings rounded down, the others up.
    """
    coupons = pl.DataFrame(
        {
            c.COUPON_ID: terms.coupon_ids,
            NUMBER: range(len(terms.coupon_ids)),
            "value_per_use": terms.value_per_use,
            "cost_per_use": terms.cost_per_use,
            "lost_per_use": terms.lost_per_use or [0.0] * len(terms.coupon_ids),
            "group": terms.groups,
            "seller": _sellers_of_coupons(terms),
        },
        schema_overrides={
            NUMBER: pl.Int64,
            "value_per_use": pl.Float64,
            "cost_per_use": pl.Float64,
            "seller": pl.Int64,
        },
    )
    expected = pl.col(c.SCORE) * terms.level
    value_per_use = pl.col("value_per_use")
    if terms.taught_by:
        new = pl.col(NEW_SHARE)
        value_per_use = new * value_per_use - (1 - new) * pl.col("lost_per_use")
    value = (expected * value_per_use * terms.value_unit).floor()
    cost = (expected * pl.col("cost_per_use").fill_null(0.0) * terms.cost_unit).ceil()
    worth = (
        scored.join(coupons, on=c.COUPON_ID, maintain_order="left")
        .with_columns(
            value.cast(pl.Int64).alias(VALUE),
            cost.cast(pl.Int64).alias(COST),
            (expected * MICRO).ceil().cast(pl.Int64).alias(USES),
        )
        .filter((pl.col(VALUE) > 0) | ((pl.col(USES) > 0) & pl.lit(bool(terms.floor_segments or terms.seller_coupons))))
        .with_columns((pl.col(VALUE) / pl.col(COST).clip(1)).alias("for_cost"))
        .drop("value_per_use", "cost_per_use", "lost_per_use")
    )
    orders = ["for_cost", *([USES] if terms.floor_segments else []), VALUE]
    for order in orders:
        worth = _mark_first(worth, order, count_candidates(top), by_group=terms.one_per_category)
    is_first = [f"first by {order}" for order in orders]
    if terms.seller_coupons:
        worth = _mark_of_sellers(worth, terms, top)
        is_first.append("of a seller")
    return worth.filter(pl.any_horizontal(is_first)).drop("for_cost", "group", "seller", *is_first)


def _sellers_of_coupons(terms: BudgetTerms) -> list[int | None]:
    """Of each coupon the number of the seller who is promised places."""
    of_coupons: list[int | None] = [None] * len(terms.coupon_ids)
    for seller, coupons in enumerate(terms.seller_coupons.values()):
        for coupon in coupons:
            of_coupons[coupon] = seller
    return of_coupons


def _mark_of_sellers(pairs: pl.DataFrame, terms: BudgetTerms, top: int) -> pl.DataFrame:
    """The pairs, with whether they are of those of their seller that lose least beside their shopper's last place."""
    places = pairs[c.SHOPPER].n_unique() * top
    most = max(top, CANDIDATES_OF_SELLER * places_promised(terms.seller_floor_percent or 0, places))
    last = pl.col(VALUE).sort(descending=True).slice(top - 1, 1).sum().over(c.SHOPPER)  # 0 where places are left
    pairs = pairs.with_columns(loss=last - pl.col(VALUE)).sort("loss", "chance")
    of_seller = pl.col("seller").is_not_null() & (pl.int_range(pl.len()).over("seller") < most)
    return pairs.with_columns(of_seller.alias("of a seller")).drop("loss").sort(c.SHOPPER, maintain_order=True)


def _mark_first(pairs: pl.DataFrame, order: str, most: int, *, by_group: bool) -> pl.DataFrame:
    """The pairs in an order, with whether they are among the first of their shopper, or the first of their group and
    that among the first of these."""
    pairs = pairs.sort(c.SHOPPER, order, "chance", descending=[False, True, False])
    is_first = pl.int_range(pl.len()).over(c.SHOPPER) < most
    if by_group:
        pairs = pairs.with_columns(leads=pl.int_range(pl.len()).over(c.SHOPPER, "group") == 0)
        is_first |= pl.col("leads") & (pl.col("leads").cum_sum().over(c.SHOPPER) <= most)
    return pairs.with_columns(is_first.alias(f"first by {order}")).drop("leads", strict=False)


def with_inputs(candidates: pl.DataFrame, inputs: pl.DataFrame) -> pl.DataFrame:
    """The candidates with what the algorithm saw of each, from which those on lists are explained: to describe pairs
    again costs as much as to score them."""
    return candidates.hstack(inputs.rename(lambda name: INPUT + name))


def inputs_of(rows: pl.DataFrame) -> pl.DataFrame | None:
    """What the algorithm saw of each row; None where that was not kept."""
    kept = [name for name in rows.columns if name.startswith(INPUT)]
    return rows.select(kept).rename(lambda name: name.removeprefix(INPUT)) if kept else None


def write_candidates(*, shard: RunShard, blocks: Sequence[pl.DataFrame]) -> None:
    """Write the candidates of a shard's shoppers. Whoever does it again writes the same."""
    columns: dict[str, Any] = {**_COLUMNS, c.SCORE: pl.Float64}
    if shard.segment_bits is not None:
        bits = pl.DataFrame({c.SHOPPER_ID: shard.shopper_ids, SEGMENTS: shard.segment_bits}, schema=_BITS)
        blocks = [block.join(bits, on=c.SHOPPER_ID, how="left", maintain_order="left") for block in blocks]
        columns[SEGMENTS] = pl.UInt64
    columns |= {name: dtype for block in blocks[:1] for name, dtype in block.schema.items() if name.startswith(INPUT)}
    together = pl.concat([pl.DataFrame(schema=columns), *(block.select(*columns) for block in blocks)])
    _write(together, _candidates_of(shard.run.key, shard.number))


def read_lists(*, shard: RunShard) -> pl.DataFrame:
    """What was allocated to a shard's shoppers: ``shopper_key``, ``number`` of the coupon and ``score``, and the pairs'
    inputs where these are still there.

    Raises:
        FileNotFoundError: the file is gone.
    """
    claim = shard.run.allocation_claim
    if claim is None:
        raise ValueError(f"Run {shard.run_id} is not allocated.")
    lists = pl.read_parquet(find_file(_lists_of(shard.run.key, claim, shard.number)))
    candidates = find_file(_candidates_of(shard.run.key, shard.number))
    if not candidates.exists():
        return lists
    pair = ["shopper_key", NUMBER]
    inputs = pl.scan_parquet(candidates).select(*pair, cs.starts_with(INPUT)).collect()
    return lists.join(inputs, on=pair, how="left", maintain_order="left")


def allocate_run(*, run: Run, progress: Progress = Progress()) -> bool:
    """Decide who gets what of a run's candidates, and let workers have its shards again, to write their lists.

    One worker does it at a time, without a lock on the run. One that is killed leaves a claim that expires; one whose
    claim was taken over changes nothing. Candidates whose file is gone are scored again.

    Returns:
        Whether it was done: False if somebody else does it or did.
    """
    terms = BudgetTerms.of(run)
    claim = None if terms is None else _claim(run)
    if terms is None or claim is None:
        return False
    try:
        numbers = list(run.shards.order_by("number").values_list("number", flat=True))
        files = {number: find_file(_candidates_of(run.key, number)) for number in numbers}
        if gone := [number for number, file in files.items() if not file.exists()]:
            _score_again(run, gone)
            return False
        alive = _SignsOfLife(run, claim, progress)
        found = _Found(terms, run, list(files.values()))
        allocation = allocate_candidates(found.blocks, found.terms, progress=alive)
        # Floors give way where a budget does not reach them, so the curve is of what is possible without.
        free = replace(found.terms, floors=())
        curve = draw_curve(found.blocks, free, progress=alive) if terms.costs_are_known else None
        seller_places = _tell_of_sellers(terms, allocation)
        if seller_places is not None:
            without = allocate_candidates(found.blocks, replace(found.terms, floors=found.of_segments), progress=alive)
            seller_places["value_without"] = int(without.value.sum()) / terms.value_unit
        for number, rows in _share_out(files, allocation, len(terms.coupon_ids), alive):
            _write(rows, _lists_of(run.key, claim, number))
        return _write_outcome(run, claim, terms, allocation, curve, seller_places=seller_places)
    except BaseException:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        _release(run, claim)
        raise


def delete_candidates(*, key: str) -> None:
    """Delete the files of a run."""
    delete_folder(folder_of_run(key))


# Reading


class _Found:
    """The candidates of a run as an allocation reads them, and what it keeps to."""

    def __init__(self, terms: BudgetTerms, run: Run, files: Sequence[Path]) -> None:
        self._files = files
        limits = {} if terms.cost_limit is None else {Resource.COST: terms.cost_limit}
        required = run.required_return
        self.of_segments = [Floor(number, Resource.USES, uses * MICRO) for number, uses in enumerate(terms.floor_uses)]
        of_sellers = [
            Floor(None, Resource.OFFERS, terms.seller_floor, tuple(coupons))
            for coupons in terms.seller_coupons.values()
        ]
        self.terms = Terms(
            coupons=len(terms.coupon_ids),
            most=run.top,
            limits=limits,
            coupon_limits={
                Resource.COST: _column(terms, terms.cost_limits),
                Resource.USES: _column(terms, terms.use_limits),
            },
            groups=np.array(terms.groups, dtype=np.int64),
            required_return=None if required is None else terms.in_whole_units(required),
            floors=[*self.of_segments, *of_sellers],
        )
        self._columns = [*_COLUMNS, *([SEGMENTS] if terms.floor_segments else [])]

    def blocks(self) -> Iterator[CandidateBlock]:
        for file in self._files:
            rows = pl.read_parquet(file, columns=self._columns)
            yield CandidateBlock(
                shopper=rows["shopper_key"].to_numpy(),
                coupon=rows[NUMBER].to_numpy(),
                value=rows[VALUE].to_numpy(),
                cost=rows[COST].to_numpy(),
                uses=rows[USES].to_numpy(),
                segments=rows[SEGMENTS].to_numpy() if SEGMENTS in rows.columns else None,
            )


def _column(terms: BudgetTerms, limits: dict[str, int]) -> np.ndarray:
    return np.array([limits.get(coupon_id, NO_LIMIT) for coupon_id in terms.coupon_ids], dtype=np.int64)


# Writing


def _share_out(
    files: dict[int, Path], allocation: Allocation, coupons: int, progress: Progress
) -> Iterator[tuple[int, pl.DataFrame]]:
    """What each shard's shoppers were allocated, by the shard's number."""
    chosen = np.sort(allocation.shopper * coupons + allocation.coupon)
    for done, (number, file) in enumerate(files.items()):
        progress.report(_("Writing who gets what"), done, len(files))
        rows = pl.read_parquet(file, columns=["shopper_key", NUMBER, c.SCORE])
        pair = rows["shopper_key"].to_numpy() * coupons + rows[NUMBER].to_numpy()
        at = np.minimum(np.searchsorted(chosen, pair), max(len(chosen) - 1, 0))
        is_chosen = chosen[at] == pair if len(chosen) else np.zeros(len(pair), dtype=bool)
        yield number, rows.filter(pl.Series(is_chosen))


def _tell_of_sellers(terms: BudgetTerms, allocation: Allocation) -> dict[str, Any] | None:
    """What :attr:`Run.seller_places` keeps; None where nothing is promised."""
    if not terms.seller_coupons:
        return None
    of_coupons = np.bincount(allocation.coupon, minlength=len(terms.coupon_ids))
    sellers = {seller: int(of_coupons[coupons].sum()) for seller, coupons in terms.seller_coupons.items()}
    return {"places": len(allocation.coupon), "sellers": sellers}


def _write_outcome(
    run: Run,
    claim: uuid.UUID,
    terms: BudgetTerms,
    allocation: Allocation,
    curve: Curve | None,
    *,
    seller_places: dict[str, Any] | None,
) -> bool:
    """Keep what the allocation came to, unless somebody else took it over."""
    spent = int(allocation.cost.sum())
    at = spent if terms.cost_limit is None else terms.cost_limit
    outcome: dict[str, Any] = {
        "allocated_at": database_now(),
        "seller_places": seller_places,
        "allocation_value": int(allocation.value.sum()) / terms.value_unit,
        # What no lists bring that keep the floors is no bound of lists that fall short of them.
        "allocation_bound": None if any(allocation.shortages) else allocation.bound / terms.value_unit,
    }
    if terms.floor_segments:
        of_segments = allocation.shortages[: len(terms.floor_segments)]
        outcome["floor_shortages"] = [ceil(10 * short / MICRO) / 10 for short in of_segments]
    if curve is not None:
        outcome["spend_curve"] = _as_json(curve, terms)
        outcome["marginal_return"] = curve.marginal_return_at(at) * terms.cost_unit / terms.value_unit
    with transaction.atomic():
        computing = Run.objects.select_for_update().filter(pk=run.pk, state=Run.State.COMPUTING)
        if not computing.filter(allocation_claim=claim, allocated_at__isnull=True).exists():
            delete_folder(_folder_of_lists(run.key, claim))
            return False
        # A worker of the version before, which knows no budgets, may have scored some shards during an upgrade.
        Recommendation.objects.filter(run=run).delete()
        run.shards.update(state=RunShard.State.PENDING, claim=None, claimed_at=None, attempts=0, error="")
        Run.objects.filter(pk=run.pk).update(**outcome)
    return True


def _as_json(curve: Curve, terms: BudgetTerms) -> dict[str, list[float]]:
    """The curve in units of the currency, of the objective and of uses."""
    return {
        "marginal_return": (curve.marginal_return * terms.cost_unit / terms.value_unit).tolist(),
        "cost": (curve.cost / terms.cost_unit).tolist(),
        "value": (curve.value / terms.value_unit).tolist(),
        "intercept": (curve.intercept / terms.value_unit).tolist(),
        "uses": (curve.uses / MICRO).tolist(),
        "offers": curve.offers.tolist(),
    }


def _write(table: pl.DataFrame, name: str) -> None:
    content = io.BytesIO()
    table.write_parquet(content)
    write_file(name, content.getvalue())


def _candidates_of(key: str, number: int) -> str:
    return f"{folder_of_run(key)}/{number}.parquet"


def _folder_of_lists(key: str, claim: uuid.UUID) -> str:
    return f"{folder_of_run(key)}/{claim.hex}"


def _lists_of(key: str, claim: uuid.UUID, number: int) -> str:
    return f"{_folder_of_lists(key, claim)}/{number}.parquet"


# Who does it


class _SignsOfLife(Progress):
    """Passes on what is reported and keeps the claim from expiring."""

    def __init__(self, run: Run, claim: uuid.UUID, progress: Progress) -> None:
        self._ours = Run.objects.filter(pk=run.pk, allocation_claim=claim)
        self._progress, self._told_at = progress, time.monotonic()

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        if time.monotonic() - self._told_at > ALIVE_SECONDS:
            self._ours.update(allocation_claimed_at=database_now())
            self._told_at = time.monotonic()
        self._progress.report(message, done, total)


def _claim(run: Run) -> uuid.UUID | None:
    now, claim = database_now(), uuid.uuid4()
    free = Q(allocation_claim__isnull=True) | Q(allocation_claimed_at__lt=now - Run.ALLOCATION_EXPIRES)
    computing = Run.objects.filter(free, pk=run.pk, state=Run.State.COMPUTING, allocated_at__isnull=True)
    return claim if computing.update(allocation_claim=claim, allocation_claimed_at=now) else None


def _release(run: Run, claim: uuid.UUID) -> None:
    Run.objects.filter(pk=run.pk, allocation_claim=claim, allocated_at__isnull=True).update(
        allocation_claim=None, allocation_claimed_at=None
    )


def _score_again(run: Run, numbers: Sequence[int]) -> None:
    """Have candidates that are gone found anew. A shard that loses them again and again fails by its attempts."""
    gone = run.shards.filter(number__in=numbers, state=RunShard.State.SCORED)
    gone.update(state=RunShard.State.PENDING, error=_("The file of its candidates is gone."))
    Run.objects.filter(pk=run.pk, allocated_at__isnull=True).update(allocation_claim=None, allocation_claimed_at=None)
