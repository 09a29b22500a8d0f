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
from recommender.ml.history import Snapshot


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
    """The campaigns of a snapshot, each described once as of the moment when its offers were decided."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._offers: dict[int, pl.DataFrame] = {}
        self._pairs: dict[int, pl.DataFrame] = {}
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
            self._offers[campaign] = offers.filter(pl.col(c.OFFERED_AT) == pl.col(c.OFFERED_AT).min()).collect()
        return self._offers[campaign]

    def pairs(self, campaign: int) -> pl.DataFrame:
        """Who was offered what by the first published run, or else every treated shopper × every coupon.

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
        treated = self.snapshot.scan("campaign_shoppers").filter(of_campaign & ~pl.col(c.IS_CONTROL)).sort(c.SHOPPER)
        coupons = self.snapshot.scan("campaign_coupons").filter(of_campaign).select(c.COUPON).sort(c.COUPON)
        return treated.select(c.CAMPAIGN, c.SHOPPER).join(coupons, how="cross", maintain_order="left_right").collect()

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
        if self._first_offers(campaign).is_empty():
            return ScoredPairs(self.described(inputs, campaign), len(shoppers))
        of_campaign = self.snapshot.scan("campaign_coupons").filter(pl.col(c.CAMPAIGN) == campaign).select(c.COUPON)
        offered = self.pairs(campaign).lazy().select(c.COUPON)  # the campaign may have lost a coupon since
        coupons = pl.concat([of_campaign, offered]).unique().sort(c.COUPON).collect()
        drawn = shoppers.gather_every(ceil(len(shoppers) * coupons.height / MOST_SCORED))
        pairs = drawn.to_frame().join(coupons, how="cross")
        history = self.snapshot.before(self.decided_at(campaign))
        described = inputs.prepare(history, coupons[c.COUPON]).describe(pairs)
        return ScoredPairs(described, len(shoppers), len(shoppers) / len(drawn))

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
        labels = [self.labels(campaign, moment) for campaign in campaigns]
        return Examples(
            inputs=pl.concat([self.described(inputs, campaign) for campaign in campaigns], rechunk=True),
            labels=np.concatenate(labels),
            campaigns=np.repeat(np.arange(len(campaigns)), [len(each) for each in labels]),
        )
