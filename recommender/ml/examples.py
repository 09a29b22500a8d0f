"""Past campaigns as examples: who was offered what, what was known then, and what they used."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import ceil

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.contract import Inputs
from recommender.ml.evaluation.splits import label_pairs, teaching_campaigns
from recommender.ml.history import TIME, Snapshot


@dataclass(frozen=True)
class Examples:
    """n pairs whose outcome is known, ordered by the start of their campaign.

    ``inputs`` has n rows; ``labels`` n booleans; ``campaigns`` n numbers that grow from 0 with the campaign's start.
    """

    inputs: pl.DataFrame
    labels: np.ndarray
    campaigns: np.ndarray


#: Pairs of a campaign that are described as a run scores them, where those offered are fewer than those scored.
MOST_SCORED = 100_000


def draw_evenly(shoppers: pl.Series, most: int) -> pl.Series:
    """So many of some sorted shoppers, evenly spread over them, or all."""
    if len(shoppers) <= most:
        return shoppers
    return shoppers[np.linspace(0, len(shoppers) - 1, most).round().astype(np.int64)]


@dataclass(frozen=True)
class ScoredPairs:
    """Inputs of pairs of a campaign, offered or not; each stands for ``weight`` of them. ``shoppers`` are in all."""

    inputs: pl.DataFrame
    shoppers: int
    weight: float = 1.0

    @property
    def size(self) -> float:
        """How many pairs they stand for."""
        return self.weight * self.inputs.height


class Casebook:
    """The campaigns of a snapshot, each described once as of the moment when its offers were decided.

    Args:
        most_pairs: of a campaign with more, only so many shoppers are read, evenly spread over it and each with all
            pairs, as do not have more. None for all, whatever memory that takes.
        taught_share: so many of the shoppers of each campaign teach, evenly spread; all are scored.
    """

    def __init__(self, snapshot: Snapshot, *, most_pairs: int | None = None, taught_share: float = 1.0) -> None:
        self.snapshot = snapshot
        self._most_pairs = most_pairs
        self._taught_share = taught_share
        self._offers: dict[int, pl.DataFrame] = {}
        self._pairs: dict[int, pl.DataFrame] = {}
        self._shoppers: dict[int, int] = {}
        self._described: dict[tuple[str, int], pl.DataFrame] = {}

    @cached_property
    def campaigns(self) -> pl.DataFrame:
        """Every campaign, the earliest first."""
        return self.snapshot.scan("campaigns").sort(c.STARTS_AT, c.CAMPAIGN).collect()

    @cached_property
    def redemptions(self) -> pl.DataFrame:
        return self.snapshot.scan("redemptions").collect()

    def _first_offers(self, campaign: int) -> pl.DataFrame:
        """What the first run that was published before the campaign's end offered; without one, no row.

        What later runs added was chosen by what had come of the first: among its pairs it would speak of the outcome.
        """
        if campaign not in self._offers:
            ends_at = self.campaigns.row(by_predicate=pl.col(c.CAMPAIGN) == campaign, named=True)[c.ENDS_AT]
            in_time = (pl.col(c.CAMPAIGN) == campaign) & (pl.col(c.OFFERED_AT) < ends_at)
            offers = self.snapshot.scan("offers").filter(in_time)
            decided_at = offers.select(pl.col(c.OFFERED_AT).min()).collect().item()
            first = offers.filter(pl.col(c.OFFERED_AT) == pl.lit(decided_at, dtype=TIME))
            shoppers = first.select(c.SHOPPER).unique().sort(c.SHOPPER).collect()[c.SHOPPER]
            drawn = self._draw(campaign, shoppers, first.select(pl.len()).collect().item())
            self._offers[campaign] = first.filter(pl.col(c.SHOPPER).is_in(drawn.implode())).collect()
        return self._offers[campaign]

    def _draw(self, campaign: int, shoppers: pl.Series, pairs: int) -> pl.Series:
        """Those of a campaign's shoppers who are read."""
        self._shoppers[campaign] = len(shoppers)
        if self._most_pairs is None or pairs <= self._most_pairs:
            return shoppers
        return draw_evenly(shoppers, max(1, len(shoppers) * self._most_pairs // pairs))

    def shoppers(self, campaign: int) -> int:
        """How many shoppers a campaign had, be they read or not."""
        self.pairs(campaign)
        return self._shoppers[campaign]

    def pairs(self, campaign: int) -> pl.DataFrame:
        """Who was offered what by the first published run, or else every treated shopper × every coupon; of the
        shoppers who are read.

        Columns ``campaign``, ``shopper`` and ``coupon``, sorted.
        """
        if campaign not in self._pairs:
            self._pairs[campaign] = self._read_pairs(campaign)
        return self._pairs[campaign]

    def _read_pairs(self, campaign: int) -> pl.DataFrame:
        offered = self._first_offers(campaign)
        if not offered.is_empty():
            return offered.select(c.CAMPAIGN, c.SHOPPER, c.COUPON).sort(c.SHOPPER, c.COUPON)
        of_campaign = pl.col(c.CAMPAIGN) == campaign
        sent = self.snapshot.scan("campaign_shoppers").filter(of_campaign & ~pl.col(c.IS_CONTROL))
        treated = sent.select(c.CAMPAIGN, c.SHOPPER).sort(c.SHOPPER).collect()
        coupons = self.snapshot.scan("campaign_coupons").filter(of_campaign).select(c.COUPON).sort(c.COUPON).collect()
        drawn = self._draw(campaign, treated[c.SHOPPER], treated.height * coupons.height)
        read = treated if len(drawn) == treated.height else treated.filter(pl.col(c.SHOPPER).is_in(drawn.implode()))
        return read.join(coupons, how="cross", maintain_order="left_right")

    def decided_at(self, campaign: int) -> datetime:
        """When the offers were decided: the first publication, or else the campaign's start."""
        offered = self._first_offers(campaign)
        if not offered.is_empty():
            return offered[c.OFFERED_AT][0]
        return self.campaigns.filter(pl.col(c.CAMPAIGN) == campaign)[c.STARTS_AT].item()

    def described(self, inputs: Inputs, campaign: int) -> pl.DataFrame:
        """The campaign's pairs as the inputs see them, as of the moment when they were decided."""
        key = (inputs.name, campaign)
        if key not in self._described:
            pairs = self.pairs(campaign)
            history = self.snapshot.before(self.decided_at(campaign))
            self._described[key] = inputs.prepare(history, pairs[c.COUPON].unique()).describe(pairs)
        return self._described[key]

    def scored(self, inputs: Inputs, campaign: int) -> ScoredPairs:
        """The campaign's pairs as a run scores them: every one of its shoppers with every one of its coupons.

        What a published run offered are the best of these, and so not like them. Then its shoppers, or as many of them
        evenly as come to :data:`MOST_SCORED` pairs, are described with all coupons of the campaign.
        """
        shoppers = self.pairs(campaign)[c.SHOPPER].unique().sort()
        in_all = self.shoppers(campaign)
        if self._first_offers(campaign).is_empty():
            weight = in_all / len(shoppers) if len(shoppers) else 1.0
            return ScoredPairs(self.described(inputs, campaign), in_all, weight)
        of_campaign = self.snapshot.scan("campaign_coupons").filter(pl.col(c.CAMPAIGN) == campaign).select(c.COUPON)
        offered = self.pairs(campaign).lazy().select(c.COUPON)  # the campaign may have lost a coupon since
        coupons = pl.concat([of_campaign, offered]).unique().sort(c.COUPON).collect()
        drawn = shoppers.gather_every(ceil(len(shoppers) * coupons.height / MOST_SCORED))
        pairs = drawn.to_frame().join(coupons, how="cross")
        history = self.snapshot.before(self.decided_at(campaign))
        described = inputs.prepare(history, coupons[c.COUPON]).describe(pairs)
        return ScoredPairs(described, in_all, in_all / len(drawn))

    def labels(self, campaign: int, before: datetime) -> np.ndarray:
        """For each of the campaign's pairs, whether the coupon was used from the decision on, strictly before a moment.

        A use before the decision is not its outcome, and the pair's inputs know of it.
        """
        since = self.redemptions.filter(pl.col(c.REDEEMED_AT) >= self.decided_at(campaign))
        return label_pairs(self.pairs(campaign), since, before=before)[c.LABEL].to_numpy()

    def teaching(self, moment: datetime) -> list[int]:
        """The campaigns with anything offered whose windows were over before the moment, the earliest first."""
        return [
            campaign
            for campaign in teaching_campaigns(self.campaigns, moment)[c.CAMPAIGN]
            if not self.pairs(campaign).is_empty()
        ]

    def examples(self, inputs: Inputs, moment: datetime) -> Examples | None:
        """All that the campaigns over before the moment teach. None where there are none."""
        campaigns = self.teaching(moment)
        if not campaigns:
            return None
        taught = [self._taught(campaign) for campaign in campaigns]
        labels = [self.labels(campaign, moment)[rows] for campaign, rows in zip(campaigns, taught, strict=True)]
        described = (self.described(inputs, campaign) for campaign in campaigns)
        return Examples(
            inputs=pl.concat([whole[rows] for whole, rows in zip(described, taught, strict=True)], rechunk=True),
            labels=np.concatenate(labels),
            campaigns=np.repeat(np.arange(len(campaigns)), [len(each) for each in labels]),
        )

    def _taught(self, campaign: int) -> np.ndarray | slice:
        """The rows of a campaign's pairs that teach."""
        if self._taught_share == 1:
            return slice(None)
        pairs = self.pairs(campaign)
        shoppers = pairs[c.SHOPPER].unique().sort()
        drawn = draw_evenly(shoppers, max(1, round(self._taught_share * len(shoppers))))
        return pairs.select(pl.col(c.SHOPPER).is_in(drawn.implode()).arg_true()).to_series().to_numpy()
