"""When within a campaign's window its coupons are used, and so which part of its uses a moment has seen.

A score is the probability that a coupon is used within its campaign's whole window. Where observation ends earlier,
that probability is worth only the share of uses that fall before.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.examples import Casebook

#: The window is cut into so many equal parts, within each of which uses are taken as spread evenly.
PARTS = 20
#: So many uses spread evenly over the window are added to all that were seen, and so many spread like all uses to those
#: of one kind of campaign: what a handful of uses says is not taken at its word.
ADDED_USES = 20.0


@dataclass(frozen=True)
class CampaignUses:
    """The window in which a campaign's offers can be used, and when each used pair was first used, in order of time.

    The window begins with the decision on the offers, but not before the campaign starts.
    """

    campaign: int
    kind: str
    decided_at: datetime
    opens_at: datetime
    closes_at: datetime
    first_uses: pl.Series

    @classmethod
    def of(cls, casebook: Casebook, campaign: int) -> Self:
        row = casebook.campaigns.row(by_predicate=pl.col(c.CAMPAIGN) == campaign, named=True)
        decided_at = casebook.decided_at(campaign)
        since = (pl.col(c.CAMPAIGN) == campaign) & (pl.col(c.REDEEMED_AT) >= decided_at)
        firsts = casebook.redemptions.filter(since).group_by(c.SHOPPER, c.COUPON).agg(pl.col(c.REDEEMED_AT).min())
        used = casebook.pairs(campaign).join(firsts, on=[c.SHOPPER, c.COUPON])
        opens_at = max(row[c.STARTS_AT], decided_at)
        return cls(campaign, row[c.KIND] or "", decided_at, opens_at, row[c.ENDS_AT], used[c.REDEEMED_AT].sort())

    def elapsed(self, moment: datetime) -> float:
        """Which share of the window is over at the moment, from 0 to 1."""
        length = self.closes_at - self.opens_at
        if length <= timedelta(0):
            return float(moment >= self.closes_at)
        return min(1.0, max(0.0, (moment - self.opens_at) / length))

    def count_before(self, moment: datetime) -> int:
        """How many pairs were used strictly before the moment, as :meth:`Casebook.labels` has it."""
        return int((self.first_uses < moment).sum())


class ObservedUses:
    """The uses of all campaigns of a snapshot that offered anything, and how far uses are observed.

    Attributes:
        campaigns: by number.
        data_end: when the last order or redemption happened; None where there is neither.
    """

    def __init__(self, casebook: Casebook) -> None:
        self.campaigns = {
            campaign: CampaignUses.of(casebook, campaign)
            for campaign in casebook.campaigns[c.CAMPAIGN]
            if not casebook.pairs(campaign).is_empty()
        }
        last = [
            casebook.snapshot.scan(table).select(pl.col(dated).max()).collect().item()
            for table, dated in (("orders", c.ORDERED_AT), ("redemptions", c.REDEEMED_AT))
        ]
        self.data_end: datetime | None = max((moment for moment in last if moment is not None), default=None)

    def over_before(self, moment: datetime) -> list[CampaignUses]:
        """The campaigns whose windows were over strictly before the moment, and before the end of data: what is known
        of them is whole."""
        until = self.observed_until(moment)
        return [uses for uses in self.campaigns.values() if max(uses.opens_at, uses.closes_at) < until]

    def known_before(self, moment: datetime) -> int:
        """How many uses the campaigns that were over before the moment had: what could teach a model then."""
        return sum(uses.count_before(moment) for uses in self.over_before(moment))

    def observed_until(self, moment: datetime) -> datetime:
        """The moment, or the end of data if that is earlier."""
        return moment if self.data_end is None else min(moment, self.data_end)

    def expected_share(self, campaign: int, until: datetime) -> float:
        """Which share of a campaign's uses is expected before a moment or the end of data, whichever is earlier.

        It rests on the campaigns that were over before the campaign's own decision.
        """
        uses = self.campaigns[campaign]
        timing = RedemptionTiming.learn(self.over_before(uses.decided_at))
        return timing.share_used_by(uses, self.observed_until(until))


@dataclass(frozen=True)
class RedemptionTiming:
    """How uses spread over windows, as learned from campaigns that were over.

    Time is counted in shares of the window, by which campaigns of different lengths are alike: uses thin out after the
    mailing and gather before the end.

    Attributes:
        overall: :data:`PARTS` + 1 cumulative shares of uses at the borders of the window's parts, from 0 to 1.
        by_kind: the same for each kind of campaign with a use, drawn towards ``overall``.
        uses: how many uses it was learned from; with none of them uses are taken as spread evenly.
    """

    overall: np.ndarray
    by_kind: dict[str, np.ndarray]
    uses: int

    @classmethod
    def learn(cls, campaigns: Iterable[CampaignUses]) -> Self:
        """From campaigns that are over. A use after the end counts to the window's last part."""
        counts: dict[str, np.ndarray] = {}
        for campaign in campaigns:
            elapsed = [campaign.elapsed(moment) for moment in campaign.first_uses]
            found = np.histogram(elapsed, bins=PARTS, range=(0, 1))[0]
            counts[campaign.kind] = counts.get(campaign.kind, np.zeros(PARTS)) + found
        total = sum(counts.values(), np.zeros(PARTS))
        spread = _draw_towards(np.full(PARTS, 1 / PARTS), total)
        by_kind = {kind: _cumulate(_draw_towards(spread, found)) for kind, found in counts.items() if found.any()}
        return cls(_cumulate(spread), by_kind, int(total.sum()))

    def share_used_by(self, campaign: CampaignUses, moment: datetime) -> float:
        """The expected share of a campaign's uses that fall before the moment: 0 until its window opens, 1 once it is
        over, and growing between."""
        borders = np.linspace(0, 1, PARTS + 1)
        return float(np.interp(campaign.elapsed(moment), borders, self.by_kind.get(campaign.kind, self.overall)))


def _draw_towards(spread: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean of a Dirichlet posterior whose prior is worth :data:`ADDED_USES` uses."""
    mean: np.ndarray = (counts + ADDED_USES * spread) / (counts.sum() + ADDED_USES)
    return mean


def _cumulate(spread: np.ndarray) -> np.ndarray:
    cumulative = np.concatenate([[0.0], np.cumsum(spread)])
    share: np.ndarray = cumulative / cumulative[-1]  # ends at 1, whatever the rounding
    return share
