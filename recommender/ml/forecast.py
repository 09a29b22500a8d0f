"""How many coupons of a campaign will be used, with an interval that holds as often as it says.

The probabilities of a campaign's pairs add up to what is expected of it, but its pairs do not err independently: the
season, the mailing and the assortment move them together, and the level that was learned may be off for all campaigns.
Both are learned from what was expected of past campaigns, out of sample, and what came of them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from recommender.ml import columns as c
from recommender.ml.examples import Casebook
from recommender.ml.redemption_timing import ObservedUses

#: The part of its mass that an interval leaves out on each side.
TAIL = 0.05
#: The scale of the level's prior (Student's t, on the logarithm). Sums of scores are thought to be right within a
#: factor of 1.4 every other time; those that nobody's use of a coupon has taught, to the order of magnitude at best.
LEVEL_SCALE, UNTAUGHT_LEVEL_SCALE = 0.4, 1.0
LEVEL_FREEDOM = 3
#: The prior of campaigns' own variation, lognormal: its median as a share of what is expected, and the scale.
VARIATION_MEDIAN, VARIATION_SCALE = 0.33, 0.8
#: The grid of the posterior; what weighs less than this in it is left out.
_LOG_LEVELS = np.linspace(-5, 5, 161)[:, None]
_VARIATIONS = np.geomspace(0.03, 3, 16)
NEGLIGIBLE = 1e-5
#: How much of what another kind of campaign came to counts: kinds differ in their mailing and in who is chosen.
OTHER_KIND = 0.25
#: A sum of scores that nobody's use has taught may be 0 for want of any history; for the interval it is at least this.
LEAST_UNTAUGHT = 1.0

FORECASTS_SCHEMA = pl.Schema(
    {
        c.CAMPAIGN: pl.UInt32,
        c.CAMPAIGN_ID: pl.String,
        c.KIND: pl.String,
        "taught_by": pl.UInt32,
        "pairs": pl.UInt32,
        "sum_of_scores": pl.Float64,
        "share": pl.Float64,
        "expected": pl.Float64,
        "low": pl.Int64,
        "high": pl.Int64,
        "actual": pl.UInt32,
        "inside": pl.Boolean,
    }
)


class Outcome(NamedTuple):
    """What a past campaign's scores added up to, its uses, by how many uses of campaigns before it those scores were
    taught, and its kind."""

    expected: float
    actual: int
    taught_by: int
    kind: str = ""


class Forecast(NamedTuple):
    """How many uses are expected, and between which numbers, both included, they lie 90 times of 100."""

    expected: float
    low: int
    high: int


class Forecaster:
    """The predictive distribution of a campaign's uses, given what came of earlier ones.

    A campaign of which ``e`` uses are expected has Poisson(e · level · g) of them, where the level is the shop's and g,
    a gamma variable of mean 1 and standard deviation ``variation``, the campaign's own: a negative binomial. The
    posterior of level and variation is summed over a grid, so that their uncertainty is in the interval, which is wide
    with few past campaigns and narrows with more.

    An outcome's likelihood is raised to a power by which it counts less: how far off scores were that half as many
    uses had taught says half as much of the present ones, and another kind of campaign says :data:`OTHER_KIND` as much.

    Args:
        outcomes: of past campaigns; those of which nothing was expected are passed over.
        taught_by: how many uses of past campaigns taught the scores. With none the level is all but unknown.
        kind: of the campaigns to forecast.
    """

    def __init__(self, outcomes: Sequence[Outcome], *, taught_by: int, kind: str = "") -> None:
        scale = LEVEL_SCALE if taught_by else UNTAUGHT_LEVEL_SCALE
        weights = stats.t.logpdf(_LOG_LEVELS, LEVEL_FREEDOM, scale=scale) + stats.norm.logpdf(
            np.log(_VARIATIONS), np.log(VARIATION_MEDIAN), VARIATION_SCALE
        )
        for outcome in outcomes:
            if outcome.expected > 0 and taught_by:
                power = min(1.0, outcome.taught_by / taught_by) * (1.0 if outcome.kind == kind else OTHER_KIND)
                weights = weights + power * stats.nbinom.logpmf(outcome.actual, *_negative_binomial(outcome.expected))
        weights = np.exp(weights - weights.max())
        weights /= weights.sum()
        #: The geometric mean of the level: the factor by which sums of scores are off.
        self.level = float(np.exp((weights.sum(axis=1) * _LOG_LEVELS[:, 0]).sum()))
        self._least = 0.0 if taught_by else LEAST_UNTAUGHT
        self._kept = weights > NEGLIGIBLE
        self._weights = weights[self._kept] / weights[self._kept].sum()

    def probability_at_most(self, uses: int, expected: float) -> float:
        """The probability of no more than so many uses where the scores add up to ``expected``."""
        n, p = _negative_binomial(expected)
        n, p = np.broadcast_to(n, p.shape)[self._kept], p[self._kept]
        return float(self._weights @ stats.nbinom.cdf(uses, n, p))

    def forecast(self, expected: float) -> Forecast:
        """The forecast of a campaign whose scores add up to ``expected`` over the time that counts.

        Raises:
            ValueError: ``expected`` is negative or not finite.
        """
        if not (np.isfinite(expected) and expected >= 0):
            raise ValueError(f"What is expected of a campaign is a sum of probabilities, not {expected}.")
        low, high = (self._quantile(share, max(expected, self._least)) for share in (TAIL, 1 - TAIL))
        return Forecast(float(expected * self.level), low, high)

    def _quantile(self, share: float, expected: float) -> int:
        """The smallest number of uses that is not exceeded with at least this probability."""
        below, at_most = -1, max(1, int(expected))
        while self.probability_at_most(at_most, expected) < share:
            below, at_most = at_most, 2 * at_most
        while at_most - below > 1:
            middle = (below + at_most) // 2
            if self.probability_at_most(middle, expected) < share:
                below = middle
            else:
                at_most = middle
        return at_most


def _negative_binomial(expected: float) -> tuple[np.ndarray, np.ndarray]:
    """scipy's n and p of uses for each variation, and each level and variation, of the grid."""
    dispersion = _VARIATIONS**2
    return 1 / dispersion, 1 / (1 + dispersion * expected * np.exp(_LOG_LEVELS))


# Past campaigns


def past_outcomes(observed: ObservedUses, scores: pl.DataFrame, moment: datetime) -> list[Outcome]:
    """What was expected, and what came, of the scored campaigns that were over strictly before the moment.

    A campaign that is still running then, or whose window data do not reach the end of, is left out: what it came to so
    far says as much of when coupons are used as of how many.

    Args:
        scores: of one algorithm, each campaign scored as of its own decision; columns ``campaign`` and ``score``.
    """
    sums = dict(scores.group_by(c.CAMPAIGN).agg(pl.col(c.SCORE).sum()).iter_rows())
    return [
        Outcome(
            sums[uses.campaign],
            uses.count_before(moment),
            observed.known_before(uses.decided_at),
            uses.kind,
        )
        for uses in observed.over_before(moment)
        if uses.campaign in sums
    ]


def forecast_campaigns(casebook: Casebook, scores: pl.DataFrame, *, until: datetime) -> pl.DataFrame:
    """Forecast each scored campaign by what was known strictly before its own decision, beside what came of it.

    Args:
        scores: of one algorithm over a walk through time, columns ``algorithm``, ``campaign`` and ``score``, each
            campaign scored as of its own decision. The more campaigns precede those of interest, the more is known.
        until: uses strictly before this moment are counted, and expected, as far as data go.

    Returns:
        A row for each campaign, the earliest decision first, with the columns of :data:`FORECASTS_SCHEMA`: how many
        uses had taught the scores; how many pairs; the sum of their probabilities over the whole window; the share of
        the window's uses that is expected to be observed; how many uses are expected in it, and the 90 % interval;
        how many there were, and whether the interval held.

    Raises:
        ValueError: the scores are of several algorithms.
    """
    if scores[c.ALGORITHM].n_unique() > 1:
        raise ValueError("Campaigns are forecast from the scores of one algorithm, not of several.")
    observed, until = ObservedUses(casebook), until.astimezone(UTC)
    sums = {
        campaign: (pairs, total)
        for campaign, pairs, total in scores.group_by(c.CAMPAIGN).agg(pl.len(), pl.col(c.SCORE).sum()).iter_rows()
    }
    names = dict(casebook.campaigns.select(c.CAMPAIGN, c.CAMPAIGN_ID).iter_rows())
    rows = []
    for uses in sorted((observed.campaigns[campaign] for campaign in sums), key=attrgetter("decided_at", "campaign")):
        pairs, total = sums[uses.campaign]
        taught_by = observed.known_before(uses.decided_at)
        outcomes = past_outcomes(observed, scores, uses.decided_at)
        share = observed.expected_share(uses.campaign, until)
        found = Forecaster(outcomes, taught_by=taught_by, kind=uses.kind).forecast(total * share)
        actual = uses.count_before(until)
        inside = found.low <= actual <= found.high
        what = (uses.campaign, names[uses.campaign], uses.kind)
        rows.append((*what, taught_by, pairs, total, share, *found, actual, inside))
    return pl.DataFrame(rows, schema=FORECASTS_SCHEMA, orient="row")


def render_forecasts(forecasts: pl.DataFrame) -> str:
    """The frame of :func:`forecast_campaigns` as a Markdown table, with how often the intervals held; ends with a
    newline."""
    shown = forecasts.select(
        pl.col(c.CAMPAIGN_ID).alias("Campaign"),
        pl.col(c.KIND).alias("Kind"),
        pl.col("pairs").alias("Pairs"),
        pl.format("{}", pl.col("sum_of_scores").round(1)).alias("Sum of scores"),
        pl.format("{} %", (100 * pl.col("share")).round().cast(pl.Int64)).alias("Share observed"),
        pl.format("{}", pl.col("expected").round(1)).alias("Expected"),
        pl.format("{} to {}", pl.col("low"), pl.col("high")).alias("90 % interval"),
        pl.col("actual").alias("Used"),
        pl.when("inside").then(pl.lit("yes")).otherwise(pl.lit("no")).alias("Inside"),
    )
    widths = forecasts.filter(pl.col("expected") > 0).select((pl.col("high") - pl.col("low")) / pl.col("expected"))
    width = f" Their mean width is {np.mean(widths.to_numpy()):.2f} times what is expected." if len(widths) else ""
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=1_000,
        fmt_str_lengths=200,
        tbl_cell_alignment="RIGHT",
    ):
        table = str(shown)
    return (
        f"{table}\n\nThe 90 % interval held for {forecasts['inside'].sum()} of {forecasts.height} campaigns.{width}\n"
        "Expected and used are counted to the end of observation.\n"
    )
