"""What all shards of a run share, and how it makes their shoppers' lists: scored, ranked, explained.

Which pairs are scored where not all are: :mod:`recommender.services.first_stage`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import orjson
import polars as pl

from recommender.ml import columns as c
from recommender.ml.contract import Algorithm, DescribedHistory
from recommender.ml.devices import CouponsForDevices
from recommender.ml.exploration import Exploration, draw_last_places
from recommender.ml.input_drift import LearnedInput, count_inputs
from recommender.ml.narration import Narrator
from recommender.ml.projects import ProjectsOfCoupons
from recommender.ml.retrieval import Retrieval
from recommender.services.allocation import find_candidates, inputs_of, with_inputs
from recommender.services.budgeting import BudgetTerms

BLOCK_PAIRS = 250_000  # described at once; what bounds the memory
_NO_PROPENSITY = pl.lit(None, dtype=pl.Float64)


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
    """What all shards of a run share.

    Attributes:
        described: prepares the history when it is first asked for. Who only writes lists does without.
    """

    algorithm: Algorithm
    described: Callable[[], DescribedHistory]
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
            scored, inputs = self.score_all(shoppers)
        else:
            chosen = self.described().describe_chosen(shoppers[c.SHOPPER], self.retrieval.choose)
            pairs = chosen.pairs.join(shoppers, on=c.SHOPPER, maintain_order="left")
            scored = self._score(pairs.join(self.coupons, on=c.COUPON, maintain_order="left"), chosen.inputs)
            inputs = chosen.inputs
        best = self.choose_best(scored, top)
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
        inputs = self.described().describe(tried.select(c.SHOPPER, c.COUPON))
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
            inputs = self.described().describe(lists.select(c.SHOPPER, c.COUPON))
        return self._explain(lists, inputs)

    def choose_best(self, scored: pl.DataFrame, top: int) -> pl.DataFrame:
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

    def score_all(self, shoppers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Every pair of some shoppers, with its score, and its inputs."""
        pairs = shoppers.join(self.coupons, how="cross")
        inputs = self.described().describe(pairs.select(c.SHOPPER, c.COUPON))
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
