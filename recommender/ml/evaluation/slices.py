"""Where an algorithm is strong and where it is weak: the champion against the baseline on parts of the pairs.

A pair belongs to a slice by what was known when its campaign was decided, never by what came of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from recommender.ml import columns as c
from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.evaluation.comparison import Comparison, compare
from recommender.ml.evaluation.pairs import KEY
from recommender.ml.examples import Casebook
from recommender.ml.history import History
from recommender.ml.purchases import age_in_days, fading_weight
from recommender.progress import Progress
from recommender.sentences import say

#: A shopper with fewer orders is new.
FEW_ORDERS = 5
#: A slice with fewer redemptions is reported and not judged.
ENOUGH_REDEMPTIONS = 30
JUDGED_BY = ("roc_auc", "pr_auc", "ndcg_at_10")

# The facts of a pair, and what each may be. Every pair is one thing of each.
EXPERIENCE = "experience"
NEW_SHOPPERS, KNOWN_SHOPPERS = "new shoppers", "known shoppers"
FREQUENCY = "frequency"
LIGHT_BUYERS, MEDIUM_BUYERS, HEAVY_BUYERS = "light buyers", "medium buyers", "heavy buyers"
COUPON_HABIT = "coupon_habit"
NEVER_SENT, COUPON_AVERSE, COUPON_USERS = "shoppers sent nothing before", "coupon-averse shoppers", "coupon users"
OFFER = "offer"
NEW_COUPONS, KNOWN_COUPONS = "new coupons", "coupons sent before"
BREADTH = "breadth"
NARROW_COUPONS, MEDIUM_COUPONS, BROAD_COUPONS = "narrow coupons", "medium coupons", "broad coupons"
FACTS = (EXPERIENCE, FREQUENCY, COUPON_HABIT, OFFER, BREADTH, c.KIND)
NO_KIND = "no kind"

#: The slices by name; the kinds of campaign are more.
REPORTED = (
    (EXPERIENCE, NEW_SHOPPERS),
    (FREQUENCY, LIGHT_BUYERS),
    (FREQUENCY, HEAVY_BUYERS),
    (COUPON_HABIT, COUPON_AVERSE),
    (OFFER, NEW_COUPONS),
    (BREADTH, NARROW_COUPONS),
    (BREADTH, BROAD_COUPONS),
)


class Verdict(StrEnum):
    """What the paired intervals of :data:`JUDGED_BY` say of a candidate against the baseline."""

    BETTER = "better"  #: surely better by every metric
    BETTER_BY_SOME = "better by some"  #: surely better by one metric at least, surely worse by none
    NO_CLEAR_DIFFERENCE = "no clear difference"
    WORSE = "significantly worse"  #: surely worse by one metric at least
    NOT_JUDGED = "not judged: too few used"


@dataclass(frozen=True)
class Slice:
    """The candidate and the baseline on some of the pairs; lists hold the coupons of the slice only."""

    name: str
    comparison: Comparison
    candidate: str
    baseline: str

    def gain(self, metric: str) -> Estimate:
        """By how much the candidate is better by a metric of :data:`JUDGED_BY`, paired over the resamples."""
        return self.comparison.difference(self.candidate, self.baseline, metric)

    @property
    def verdict(self) -> Verdict:
        if self.comparison.redemption_count < ENOUGH_REDEMPTIONS:
            return Verdict.NOT_JUDGED
        gains = [self.gain(metric) for metric in JUDGED_BY]
        better = [gain.low is not None and gain.low > 0 for gain in gains]
        if any(gain.high is not None and gain.high < 0 for gain in gains):
            return Verdict.WORSE
        if any(better):
            return Verdict.BETTER if all(better) else Verdict.BETTER_BY_SOME
        return Verdict.NO_CLEAR_DIFFERENCE


def evaluate_slices(
    scores: pl.DataFrame,
    facts: pl.DataFrame,
    thresholds: Mapping[str, float],
    *,
    candidate: str,
    baseline: str,
    resamples: int,
    seed: int,
    progress: Progress = Progress(),
) -> list[Slice]:
    """Compare two algorithms on each slice of :data:`REPORTED` that has any pair.

    Args:
        scores: columns algorithm, campaign, shopper, coupon, score, label and share, as :func:`compare` takes them; the
            two algorithms among others.
        facts: of the same pairs, from :func:`pair_facts`.
        thresholds: by algorithm, as :func:`compare` takes them.

    Raises:
        ScoresError: the scores are not as above.
        Cancelled: somebody asked the work to stop.
    """
    both = scores.filter(pl.col(c.ALGORITHM).is_in([candidate, baseline])).join(facts, on=KEY, how="left")
    slices: list[Slice] = []
    for number, (fact, value) in enumerate(REPORTED):
        progress.report(say("Comparing on slices of the pairs"), number, len(REPORTED))
        part = both.filter(pl.col(fact) == value).drop(FACTS)
        if not part.is_empty():
            found = compare(part, thresholds, resamples=resamples, seed=seed)
            slices.append(Slice(value, found, candidate, baseline))
    return slices


def compare_by_kind(
    scores: pl.DataFrame,
    facts: pl.DataFrame,
    thresholds: Mapping[str, float],
    *,
    resamples: int,
    seed: int,
    progress: Progress = Progress(),
) -> dict[str, Comparison]:
    """All algorithms on the campaigns of each kind, by its name. Empty where there are not two kinds to tell apart.

    Of three kinds or more, all but the one with the most pairs are compared together too: that one decides every
    figure over all campaigns.

    Raises:
        ScoresError: the scores are not as :func:`compare` takes them.
        Cancelled: somebody asked the work to stop.
    """
    by_pairs = facts[c.KIND].value_counts(sort=True)[c.KIND].to_list()
    conditions = {kind: pl.col(c.KIND) == kind for kind in sorted(by_pairs)}
    if len(conditions) < 2:
        return {}
    if len(conditions) > 2:
        conditions[f"all but {by_pairs[0]}"] = pl.col(c.KIND) != by_pairs[0]
    kinds = facts.select(c.CAMPAIGN, c.KIND).unique()
    found = {}
    for number, (name, condition) in enumerate(conditions.items()):
        progress.report(say("Comparing by kind of campaign"), number, len(conditions))
        part = scores.join(kinds.filter(condition), on=c.CAMPAIGN, how="semi")
        found[name] = compare(part, thresholds, resamples=resamples, seed=seed)
    return found


def pair_facts(casebook: Casebook, campaigns: Iterable[int]) -> pl.DataFrame:
    """What every pair of the campaigns was when its offers were decided.

    Columns: campaign, shopper, coupon, and as text

    - ``experience``: new shoppers have fewer than :data:`FEW_ORDERS` orders;
    - ``frequency``: thirds of the campaign's shoppers by orders faded with time;
    - ``coupon_habit``: the coupon-averse were sent another campaign before and never used a coupon;
    - ``offer``: of a new coupon no coupon of the same offer was sent in another campaign before;
    - ``breadth``: thirds of the campaign's coupons by number of products, a coupon for the whole shop being the
      broadest;
    - ``kind``: the campaign's, in the shop's words.

    Whoever is equal stands in the same third.
    """
    kinds = casebook.campaigns.select(
        c.CAMPAIGN, pl.when(pl.col(c.KIND).fill_null("") == "").then(pl.lit(NO_KIND)).otherwise(c.KIND).alias(c.KIND)
    )
    schema = {**dict.fromkeys(KEY, pl.UInt32), **dict.fromkeys(FACTS, pl.String)}
    described = [_describe(casebook, campaign).join(kinds, on=c.CAMPAIGN, how="left") for campaign in campaigns]
    return pl.concat([pl.DataFrame(schema=schema), *(frame.select(*KEY, *FACTS) for frame in described)])


def _describe(casebook: Casebook, campaign: int) -> pl.DataFrame:
    pairs = casebook.pairs(campaign)
    history = casebook.snapshot.before(casebook.decided_at(campaign))
    shoppers = _shopper_facts(history, pairs.select(c.SHOPPER).unique(), campaign)
    coupons = _coupon_facts(history, pairs.select(c.COUPON).unique(), campaign)
    return pairs.join(shoppers, on=c.SHOPPER, how="left").join(coupons, on=c.COUPON, how="left")


def _shopper_facts(history: History, shoppers: pl.DataFrame, campaign: int) -> pl.DataFrame:
    asked = shoppers.lazy()
    orders = (
        history.scan("orders")
        .join(asked, on=c.SHOPPER, how="semi")
        .group_by(c.SHOPPER)
        # sorted, since a sum of floats depends on the order of its terms and equal shoppers must stay equal
        .agg(pl.len().alias("orders"), fading_weight(age_in_days(c.ORDERED_AT, history)).sort().sum().alias("faded"))
    )
    sent = pl.concat(
        [
            history.scan("campaign_shoppers").filter(~pl.col(c.IS_CONTROL)).select(c.SHOPPER, c.CAMPAIGN),
            history.scan("offers").select(c.SHOPPER, c.CAMPAIGN),
        ]
    ).filter(pl.col(c.CAMPAIGN) != campaign)
    was_sent, has_used = (
        frame.select(c.SHOPPER).unique().with_columns(pl.lit(True).alias(name))
        for frame, name in ((sent, "was_sent"), (history.scan("redemptions"), "has_used"))
    )
    return (
        asked.join(orders, on=c.SHOPPER, how="left")
        .join(was_sent, on=c.SHOPPER, how="left")
        .join(has_used, on=c.SHOPPER, how="left")
        .select(
            c.SHOPPER,
            pl.when(pl.col("orders").fill_null(0) < FEW_ORDERS)
            .then(pl.lit(NEW_SHOPPERS))
            .otherwise(pl.lit(KNOWN_SHOPPERS))
            .alias(EXPERIENCE),
            _third(pl.col("faded").fill_null(0.0), LIGHT_BUYERS, MEDIUM_BUYERS, HEAVY_BUYERS).alias(FREQUENCY),
            pl.when(pl.col("has_used"))
            .then(pl.lit(COUPON_USERS))
            .when(pl.col("was_sent"))
            .then(pl.lit(COUPON_AVERSE))
            .otherwise(pl.lit(NEVER_SENT))
            .alias(COUPON_HABIT),
        )
        .collect()
    )


def _coupon_facts(history: History, coupons: pl.DataFrame, campaign: int) -> pl.DataFrame:
    asked = coupons.lazy()
    sizes = (
        history.scan("coupon_products")
        .join(asked, on=c.COUPON, how="semi")
        .group_by(c.COUPON)
        .agg(pl.len().cast(pl.Float64).alias("products"))
    )
    offers = history.scan("coupons").select(
        c.COUPON,
        c.WHOLE_SHOP,
        # a coupon without an offer is one of its own
        pl.when(pl.col(c.OFFER_ID) == "").then(pl.format("coupon {}", c.COUPON_ID)).otherwise(c.OFFER_ID).alias(OFFER),
    )
    sent = pl.concat(
        [history.scan(table).select(c.CAMPAIGN, c.COUPON) for table in ("campaign_coupons", "offers")]
    ).filter(pl.col(c.CAMPAIGN) != campaign)
    sent_before = offers.join(sent, on=c.COUPON, how="semi").select(OFFER).unique().with_columns(sent=pl.lit(True))
    products = pl.when(pl.col(c.WHOLE_SHOP)).then(float("inf")).otherwise(pl.col("products").fill_null(0.0))
    return (
        asked.join(offers, on=c.COUPON, how="left")
        .join(sizes, on=c.COUPON, how="left")
        .join(sent_before, on=OFFER, how="left")
        .select(
            c.COUPON,
            pl.when(pl.col("sent")).then(pl.lit(KNOWN_COUPONS)).otherwise(pl.lit(NEW_COUPONS)).alias(OFFER),
            _third(products, NARROW_COUPONS, MEDIUM_COUPONS, BROAD_COUPONS).alias(BREADTH),
        )
        .collect()
    )


def _third(values: pl.Expr, lowest: str, middle: str, highest: str) -> pl.Expr:
    """The name of the third that each value stands in. Equal values share their mean rank, so all of them are middle
    where no value differs."""
    place = (values.rank("average") - 0.5) / pl.len()
    return (
        pl.when(place < 1 / 3).then(pl.lit(lowest)).when(place > 2 / 3).then(pl.lit(highest)).otherwise(pl.lit(middle))
    )
