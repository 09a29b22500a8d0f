"""Lists of some of a run's shoppers: every pair scored, or in two stages those pairs that are worth it.

A run's plan and its shards are in :mod:`recommender.services.runs`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import compress
from typing import Any

import numpy as np
import orjson
import polars as pl
from django.db.models import Exists, OuterRef, QuerySet

from recommender import models
from recommender.ml import columns as c
from recommender.ml.contract import Algorithm, DescribedHistory, Sketch
from recommender.ml.devices import CouponsForDevices
from recommender.ml.exploration import Exploration, draw_last_places
from recommender.ml.input_drift import LearnedInput, add_counts, count_inputs
from recommender.ml.narration import Narrator
from recommender.ml.projects import ProjectsOfCoupons
from recommender.ml.retrieval import MOST_KEPT, Retrieval, learn_retrieval
from recommender.models import Run, RunShard
from recommender.progress import Progress
from recommender.services.allocation import NUMBER, find_candidates, inputs_of, read_lists, with_inputs
from recommender.services.budgeting import BudgetTerms
from recommender.services.expected_prices import expect_prices, list_at_price, worth_at_price
from recommender.services.exploration import exploration_of
from recommender.services.input_drift import learned_inputs_of
from recommender.services.new_uses import read_new_shares
from recommender.services.shared_files import find_file
from recommender.services.snapshot import open_snapshot
from recommender.wording import gettext as _

BLOCK_PAIRS = 250_000  # described at once; what bounds the memory
#: Shoppers that a run's first stage is learned from and measured on. Half of them tell a kept share of 99.5 % to some
#: 0.2 %, and what each coupon scores on the mean to a few hundredths of itself.
SAMPLE_SHOPPERS = 2_000
FEWEST_WITH_CANDIDATES = 50  # of them, or every pair is scored
FEWEST_SHOPPERS = 4 * SAMPLE_SHOPPERS  # of a run in two stages
_NO_PROPENSITY = pl.lit(None, dtype=pl.Float64)


def is_worth_two_stages(shoppers: int, coupons: int, top: int) -> bool:
    """Whether it may save anything to choose the coupons that are scored: lists are short beside the coupons, and the
    shoppers that this is learned from are few beside the others."""
    return shoppers >= FEWEST_SHOPPERS and top < MOST_KEPT * coupons


@dataclass(frozen=True)
class Told:
    """What is told of all pairs of some shoppers, listed or not.

    Attributes:
        score_sums: coupon_id, count and sum of the scores of each coupon.
        input_counts: by learned input and bin, their pairs.
    """

    score_sums: pl.DataFrame
    input_counts: list[list[int]]


@dataclass(frozen=True)
class Block:
    """Some shoppers scored.

    Attributes:
        rows: their lists: shopper, coupon, rank, score, propensity and reasons (JSON); or the candidates for these.
        told: None where not all pairs are scored.
    """

    rows: pl.DataFrame
    told: Told | None


@dataclass(frozen=True)
class Scorer:
    """What all shards of a run share."""

    algorithm: Algorithm
    history: DescribedHistory
    narrator: Narrator
    shoppers: pl.DataFrame  # shopper, shopper_id
    coupons: pl.DataFrame  # coupon, coupon_id, offer
    learned: list[LearnedInput]  # what the inputs are compared with
    devices: CouponsForDevices  # what is for devices, and for whom
    projects: ProjectsOfCoupons  # what is of projects, and who finished them
    terms: BudgetTerms | None = None  # of a run within a budget
    new_shares: pl.DataFrame | None = None  # of each shopper's uses, where that decides
    retrieval: Retrieval | None = None  # without it every pair is scored
    exploration: Exploration | None = None  # without it nothing is tried

    @property
    def block_shoppers(self) -> int:
        """How many shoppers are described at once."""
        return max(1, BLOCK_PAIRS // (self.coupons.height if self.retrieval is None else self.retrieval.kept_coupons))

    def recommend(self, shoppers: pl.DataFrame, top: int) -> Block:
        """The lists of some shoppers, and what is told of all their pairs. In a run within a budget, the candidates
        for the lists."""
        if self.retrieval is None:
            scored, inputs = self._score_all(shoppers)
        else:
            chosen = self.history.describe_chosen(shoppers[c.SHOPPER], self.retrieval.choose)
            pairs = chosen.pairs.join(shoppers, on=c.SHOPPER, maintain_order="left")
            scored = self._score(pairs.join(self.coupons, on=c.COUPON, maintain_order="left"), chosen.inputs)
            inputs = chosen.inputs
        best = self._choose_best(scored, top)
        return Block(
            rows=self._write(best, inputs, top) if self.terms is None else with_inputs(best, inputs[best["pair"]]),
            told=self._tell(scored, inputs) if self.retrieval is None else None,
        )

    def _write(self, best: pl.DataFrame, inputs: pl.DataFrame, top: int) -> pl.DataFrame:
        """The rows of lists with the best coupons, or in a run that tries something with others on some last places."""
        if self.exploration is None:
            return self._explain(best.with_columns(propensity=_NO_PROPENSITY), inputs[best["pair"]])
        best, tried = self._explore(best, top)
        rows = self._explain(best, inputs[best["pair"]])
        if tried.is_empty():
            return rows
        inputs = self.history.describe(tried.select(c.SHOPPER, c.COUPON))
        tried = tried.with_columns(pl.Series(c.SCORE, self.algorithm.score(inputs)))
        return pl.concat([rows, self._explain(tried, inputs)])

    def _explore(self, best: pl.DataFrame, top: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The lists with the chance of each coupon to stand there, and what was drawn for last places in the stead of
        what stood there: without a score, which need not be known yet."""
        assert self.exploration is not None
        last = best.filter(pl.col(c.RANK) == top)  # shorter lists have every coupon
        coupons = self.coupons.with_row_index("place")
        names, offers = np.unique(coupons["offer"].to_list(), return_inverse=True)
        places = coupons.select(c.COUPON, "place")
        before = (
            best.filter(pl.col(c.RANK) < top)
            .join(last.select(c.SHOPPER).with_row_index("list"), on=c.SHOPPER)
            .join(places, on=c.COUPON)
        )
        taken = np.zeros((last.height, len(names)), dtype=bool)
        taken[before["list"].to_numpy(), offers[before["place"].to_numpy()]] = True
        ordinary = last.join(places, on=c.COUPON, maintain_order="left")["place"].to_numpy()
        may_have = self._may_have(last.select(c.SHOPPER).join(coupons, how="cross"))
        chosen, chance = draw_last_places(
            self.exploration,
            shopper_ids=last[c.SHOPPER_ID].to_list(),
            ordinary=ordinary,
            eligible=~taken[:, offers] & may_have.reshape(taken.shape[0], coupons.height),
        )
        drawn = last.select(c.SHOPPER, c.SHOPPER_ID).with_columns(
            coupons[c.COUPON][chosen],
            coupons[c.COUPON_ID][chosen],
            pl.lit(top, dtype=best.schema[c.RANK]).alias(c.RANK),
            pl.Series("propensity", chance),
        )
        others = best.join(drawn.select(c.SHOPPER, c.COUPON, c.RANK, "propensity"), on=[c.SHOPPER, c.RANK], how="left")
        replaced = pl.col(f"{c.COUPON}_right").is_not_null() & (pl.col(f"{c.COUPON}_right") != pl.col(c.COUPON))
        stays = (
            others.filter(~replaced)
            .drop(f"{c.COUPON}_right")
            .with_columns(pl.col("propensity").fill_null(1.0))
            .sort(c.SHOPPER, c.RANK)
        )
        return stays, drawn.filter(pl.Series(chosen != ordinary))

    def write_lists(self, allocated: pl.DataFrame) -> pl.DataFrame:
        """The rows of lists that were allocated: ranked, and explained.

        Args:
            allocated: columns ``shopper``, ``shopper_id``, ``coupon``, ``coupon_id`` and ``score``, and the pairs'
                inputs if they were kept when these were scored.
        """
        lists = _rank(allocated.with_columns(_chance().alias("chance"), propensity=_NO_PROPENSITY))
        inputs = inputs_of(lists)
        if inputs is None:
            inputs = self.history.describe(lists.select(c.SHOPPER, c.COUPON))
        return self._explain(lists, inputs)

    def _choose_best(self, scored: pl.DataFrame, top: int) -> pl.DataFrame:
        """Of each shopper what stands on the list, ranked, or what may stand on it once candidates are allocated.

        What the shopper may not have stands on none, whatever its score.
        """
        if any(rule.any for rule in self._rules):
            scored = scored.filter(self._may_have(scored))
        if self.terms is None:
            return _list_best(scored, top)
        if self.new_shares is not None:
            scored = scored.join(self.new_shares, on=c.SHOPPER, how="left", maintain_order="left")
        return find_candidates(scored, self.terms, top)

    @property
    def _rules(self) -> tuple[CouponsForDevices, ProjectsOfCoupons]:
        return self.devices, self.projects

    def _may_have(self, pairs: pl.DataFrame) -> np.ndarray:
        """(n,): that a pair's coupon is neither for devices that the shopper does not own, nor of a project that the
        shopper has finished."""
        may = np.ones(pairs.height, dtype=bool)
        for rule in self._rules:
            if rule.any:
                may &= rule.may_have(pairs, pairs[c.SHOPPER]).to_numpy()
        return may

    def _explain(self, lists: pl.DataFrame, inputs: pl.DataFrame) -> pl.DataFrame:
        explained = self.narrator.tell(lists, self.algorithm.explain(inputs))
        reasons = [orjson.dumps(of_pair).decode() for of_pair in explained]
        told = pl.Series("reasons", reasons, dtype=pl.String)
        return lists.select(c.SHOPPER_ID, c.COUPON_ID, c.RANK, c.SCORE, "propensity", told)

    def choose_pairs(self, shoppers: pl.DataFrame, run: Run) -> dict[str, Any]:
        """What :attr:`Run.retrieval` keeps: learned from some shoppers of the run, all of whose pairs are scored.

        Of a run within a budget it is not yet known what it will be worth. What is learned to be kept is what stands on
        lists at the price that the budget has among these shoppers, and at others around it.
        """
        sketches: list[Sketch] = []
        scores: list[np.ndarray] = []
        best: list[pl.DataFrame] = []
        counts: list[list[int]] = []
        for part in shoppers.iter_slices(self.block_shoppers):
            sketch = self.history.sketch(part[c.SHOPPER])
            if sketch is None:
                return {}
            scored, inputs = self._score_all(part)
            pairs_before = sum(of_part.size for of_part in scores)
            best.append(self._choose_best(scored, run.top).with_columns(pl.col("pair") + pairs_before))
            sketches.append(sketch)
            scores.append(scored[c.SCORE].to_numpy().reshape(part.height, -1))
            counts = add_block_counts(counts, count_inputs(inputs, self.learned))
        together = {name: np.concatenate([sketch[name] for sketch in sketches]) for name in sketches[0]}
        all_scores, all_best = np.concatenate(scores), pl.concat(best)
        prices = None
        if self.terms is not None:
            prices = expect_prices(all_best, self.terms, run, shoppers=shoppers.height)
        listed = self._mark_listed(all_best, run.top, prices, all_scores.shape)
        if prices is not None:  # at a high one hardly anybody is offered anything
            enough = [marks.any(axis=1).sum() >= FEWEST_WITH_CANDIDATES for marks in listed]
            prices, listed = list(compress(prices, enough)), list(compress(listed, enough))
        # Within a budget some shoppers have no candidate: whoever brings nothing.
        some = np.any(listed, axis=(0, 2)) if listed else np.zeros(len(all_scores), dtype=bool)
        if some.sum() < FEWEST_WITH_CANDIDATES:
            return {}
        tables = {name: table[some] for name, table in together.items()}
        retrieval = learn_retrieval(
            tables, [all_scores[some] * worth for worth in self._worth(prices)], [marks[some] for marks in listed]
        )
        if retrieval is None:
            return {}
        sums = zip(self.coupons[c.COUPON_ID], all_scores.sum(axis=0).tolist(), strict=True)
        return {
            "first_stage": retrieval.as_json(),
            "prices": prices,
            "score_sums": {coupon_id: (len(all_scores), total) for coupon_id, total in sums},
            "input_counts": counts,
        }

    def kept_listed(self, shoppers: pl.DataFrame, top: int, prices: Sequence[float] | None) -> tuple[int, int]:
        """Of what stands on some shoppers' lists when every pair is scored, how much the first stage keeps, and all."""
        scored, _inputs = self._score_all(shoppers)
        shape = (shoppers.height, self.coupons.height)
        listed = np.any(self._mark_listed(self._choose_best(scored, top), top, prices, shape), axis=0)
        sketch = None if self.retrieval is None else self.history.sketch(shoppers[c.SHOPPER])
        if self.retrieval is None or sketch is None:
            return int(listed.sum()), int(listed.sum())
        kept = np.take_along_axis(listed, self.retrieval.choose(sketch), axis=1)
        return int(kept.sum()), int(listed.sum())

    def _mark_listed(
        self, best: pl.DataFrame, top: int, prices: Sequence[float] | None, shape: tuple[int, ...]
    ) -> list[np.ndarray]:
        """(shoppers, coupons) at each price: which pairs the first stage has to keep, of those that may stand on lists.
        Where lists follow from no price, once."""
        if self.terms is None or prices is None:
            lists = [best]
        else:
            lists = [list_at_price(best, self.terms, top, price) for price in prices]
        listed = [np.zeros(shape, dtype=bool) for _list in lists]
        for marks, on_list in zip(listed, lists, strict=True):
            marks.flat[on_list["pair"].to_numpy()] = True
        return listed

    def _worth(self, prices: Sequence[float] | None) -> list[np.ndarray]:
        """(coupons,) at each price: by what a coupon's chances are multiplied for its place on lists."""
        if self.terms is None or prices is None:
            return [np.ones(self.coupons.height)]
        numbers = {coupon_id: number for number, coupon_id in enumerate(self.terms.coupon_ids)}
        in_order = [numbers[coupon_id] for coupon_id in self.coupons[c.COUPON_ID]]
        return [worth_at_price(self.terms, price)[in_order] for price in prices]

    def _score_all(self, shoppers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Every pair of some shoppers, with its score, and its inputs."""
        pairs = shoppers.join(self.coupons, how="cross")
        inputs = self.history.describe(pairs.select(c.SHOPPER, c.COUPON))
        return self._score(pairs, inputs), inputs

    def _score(self, pairs: pl.DataFrame, inputs: pl.DataFrame) -> pl.DataFrame:
        scores = pl.Series(c.SCORE, self.algorithm.score(inputs))
        return pairs.with_row_index("pair").with_columns(scores, _chance().alias("chance"))

    def _tell(self, scored: pl.DataFrame, inputs: pl.DataFrame) -> Told:
        # One pair after the other: sums of a group in polars differ in their last digits with the number of threads.
        most = int(self.coupons[c.COUPON].max()) + 1  # type: ignore[arg-type]
        sums = self.coupons.select(
            c.COUPON_ID,
            pl.Series("count", np.bincount(scored[c.COUPON], minlength=most)[self.coupons[c.COUPON]]),
            pl.Series("sum", np.bincount(scored[c.COUPON], scored[c.SCORE], most)[self.coupons[c.COUPON]]),
        )
        return Told(sums, count_inputs(inputs, self.learned))


def _chance() -> pl.Expr:
    """Equal scores are ordered by chance, a new one for each pair: by their identifiers the same coupon would always
    win."""
    return pl.concat_str(c.SHOPPER_ID, c.COUPON_ID, separator="\0").hash(seed=0)


def _list_best(scored: pl.DataFrame, top: int) -> pl.DataFrame:
    """The best pairs of each shopper, the same offer once, ranked."""
    return _rank(scored, once="offer").filter(pl.col(c.RANK) <= top)


def _rank(scored: pl.DataFrame, *, once: str | None = None) -> pl.DataFrame:
    """The pairs of each shopper by their scores, of those with the same ``once`` the best alone."""
    ordered = scored.sort(c.SCORE, "chance", descending=[True, False])
    if once is not None:
        ordered = ordered.unique([c.SHOPPER, once], keep="first", maintain_order=True)
    return ordered.with_columns(pl.int_range(1, pl.len() + 1).over(c.SHOPPER).alias(c.RANK)).sort(c.SHOPPER, c.RANK)


@lru_cache(maxsize=1)
def prepare_scorer(key: str) -> Scorer:
    """Prepare a run, which its key names, once in a process."""
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
        history=algorithm.inputs.prepare(history, coupons[c.COUPON]),
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
    return replace(scorer, retrieval=_find_retrieval(run, scorer))


def _find_retrieval(run: Run, scorer: Scorer) -> Retrieval | None:
    """What chooses the pairs of a run that are scored; None where all are.

    Whoever comes first decides for all: another processor may round differently.
    """
    if run.retrieval is None:
        begun = run.shards.filter(state=RunShard.State.SCORED).exists()  # by a version that scored every pair
        sample = None if begun else _sample_shoppers(run, scorer)
        chosen = {} if sample is None else scorer.choose_pairs(sample, run)
        Run.objects.filter(pk=run.pk, retrieval__isnull=True).update(retrieval=chosen)
        run.refresh_from_db(fields=["retrieval"])
    return Retrieval(**run.retrieval["first_stage"]) if run.retrieval else None


def _sample_shoppers(run: Run, scorer: Scorer) -> pl.DataFrame | None:
    """Shoppers of a run, spread evenly over it; None where it is not worth two stages."""
    shopper_ids = _audience(run)
    if not is_worth_two_stages(len(shopper_ids), scorer.coupons.height, run.top):
        return None
    sample = _find_shoppers(run, scorer, _spread(shopper_ids, SAMPLE_SHOPPERS))
    return sample.select(c.SHOPPER, c.SHOPPER_ID) if sample.height >= SAMPLE_SHOPPERS // 2 else None


def measure_kept_share(*, run: Run, shoppers: int) -> tuple[float, int]:
    """Of what stands on the lists of some of a run's shoppers when every pair is scored, the share that its first stage
    keeps; and how many shoppers these were, evenly spread and other than those whom it was learned from."""
    scorer = prepare_scorer(run.key)
    shopper_ids = _audience(run)
    learned_from = set(_spread(shopper_ids, SAMPLE_SHOPPERS)) if run.retrieval else set()
    others = [each for each in shopper_ids if each not in learned_from]
    sample = _find_shoppers(run, scorer, _spread(others, shoppers))
    prices = (run.retrieval or {}).get("prices")
    kept = total = 0
    for part in sample.iter_slices(max(1, BLOCK_PAIRS // scorer.coupons.height)):
        of_part = scorer.kept_listed(part.select(c.SHOPPER, c.SHOPPER_ID), run.top, prices)
        kept, total = kept + of_part[0], total + of_part[1]
    return kept / total, sample.height


def describe_some(*, run: Run, shoppers: int) -> np.ndarray:
    """(pairs, inputs): what a run's algorithm sees of some of its shoppers, evenly spread, with every coupon."""
    scorer = prepare_scorer(run.key)
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


def add_block_counts(one: list[list[int]], other: list[list[int]]) -> list[list[int]]:
    return add_counts(one, other) if one else other


def _frame_of_keys(queryset: QuerySet, identifier: str) -> pl.DataFrame:
    return pl.DataFrame(
        list(queryset.values_list(identifier, "pk")), schema={identifier: pl.String, "key": pl.Int64}, orient="row"
    )
