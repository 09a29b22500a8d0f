"""Whose uses are of purchases that would not have been made otherwise: what runs for incremental margin go by.

Past campaigns of which shoppers were held out at random teach it. The maths is in :mod:`recommender.ml.uplift`, its
assumptions in docs/uplift.md.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from django.db.models import Max

from recommender.models import Campaign, CampaignShopper, Order
from recommender.services.budgeting import BudgetRefused
from recommender.wording import gettext as _

if TYPE_CHECKING:
    import polars as pl

    from recommender.ml.history import History
    from recommender.ml.uplift import DrawnCampaign

#: All but the last teach, and the last one says whether that holds.
FEWEST_CAMPAIGNS = 2
#: The latest ones: what shoppers did years ago says little.
MOST_CAMPAIGNS = 8
FEWEST_SHOPPERS = 100  # in each group
SEED = 0

#: The column of the shares in what :func:`read_new_shares` gives.
NEW_SHARE = "new_share"


def refuse_incremental_margin(*, at: datetime) -> str | None:
    """Why the shop's past does not tell whom coupons change; None where it may, which only learning it shows."""
    if len(list(islice(_find_drawn(at), FEWEST_CAMPAIGNS))) == FEWEST_CAMPAIGNS:
        return None
    return _(
        "Whom coupons change is learned from campaigns of which shoppers were held out at random. It takes %(fewest)s "
        "that are over, with %(shoppers)s shoppers or more in both groups. Choose margin for now, and hold some "
        "shoppers out of the next campaigns."
    ) % {"fewest": FEWEST_CAMPAIGNS, "shoppers": FEWEST_SHOPPERS}


def choose_teachers(*, history: "History") -> dict[str, float]:
    """The campaigns that teach whose uses are new, the earliest first, with the chances that their shoppers were sent
    them.

    Raises:
        BudgetRefused: there are too few whose groups may be compared, or what they teach does not hold at a later one.
    """
    from recommender.ml.uplift import NotRandomised, is_comparable, judge_new_uses

    if refusal := refuse_incremental_margin(at=history.moment):
        raise BudgetRefused(refusal)
    latest = list(islice(_find_drawn(history.moment), MOST_CAMPAIGNS))
    chances = {each.campaign_id: 1 - float(each.holdout_percent) / 100 for each in reversed(latest)}
    read = {name: _read(history, name, chance) for name, chance in chances.items()}
    comparable = {name: campaign for name, campaign in read.items() if is_comparable(campaign)}
    if len(comparable) < FEWEST_CAMPAIGNS:
        raise BudgetRefused(
            _(
                "Of the campaigns of which shoppers were held out, nobody used a coupon of %(campaigns)s, or the "
                "groups differ in what they should not, so too few tell whom coupons change. Choose margin for now."
            )
            % {"campaigns": ", ".join(name for name in read if name not in comparable)}
        )
    try:
        found = judge_new_uses(list(comparable.values()), seed=SEED)
    except NotRandomised:  # too few are left in a group where some teach and others are judged
        low = None
    else:
        low = found.qini.low
    if low is None or low <= 0:
        raise BudgetRefused(
            _(
                "The campaigns of which shoppers were held out do not surely tell who buys because of a coupon from "
                "who would have bought anyway: %(campaigns)s. Choose margin for now, and hold some shoppers out of the "
                "next campaigns."
            )
            % {"campaigns": ", ".join(comparable)}
        )
    return {name: chances[name] for name in comparable}


def read_new_shares(*, history: "History", taught_by: Mapping[str, float]) -> "pl.DataFrame":
    """Of each shopper the share of uses that are of purchases which would not have been made otherwise.

    Args:
        history: as of the run.
        taught_by: see :func:`choose_teachers`.

    Returns:
        Columns ``shopper``, the snapshot's number, and :data:`NEW_SHARE`.
    """
    import polars as pl

    from recommender.ml import columns as c
    from recommender.ml.uplift import NewUses, describe_shoppers

    taught = NewUses().fit([_read(history, name, chance) for name, chance in taught_by.items()], seed=SEED)
    shoppers = history.scan("shoppers").select(c.SHOPPER).collect()
    shares = taught.predict(describe_shoppers(history, shoppers[c.SHOPPER]))
    return shoppers.with_columns(pl.Series(NEW_SHARE, shares))


def _read(history: "History", campaign_id: str, chance: float) -> "DrawnCampaign":
    from recommender.ml.uplift import read_drawn_campaign

    return read_drawn_campaign(history, campaign_id, chance=chance)


def _find_drawn(at: datetime) -> Iterator[Campaign]:
    """Campaigns of which shoppers were held out by the draw alone and of whose end data tell, the latest first."""
    known_until = Order.objects.filter(ordered_at__lt=at).aggregate(last=Max("ordered_at"))["last"]
    if known_until is None:
        return
    over = Campaign.objects.filter(
        ends_at__lte=known_until, holdout_percent__gt=0, publications__isnull=False
    ).distinct()
    for campaign in over.order_by("-ends_at", "-pk"):
        held_out = campaign.campaign_shoppers.filter(group=CampaignShopper.Group.CONTROL)
        sent = campaign.campaign_shoppers.filter(group=CampaignShopper.Group.TREATMENT)
        if held_out.filter(origin=CampaignShopper.Origin.SHOP).exists():
            continue
        if all(group[:FEWEST_SHOPPERS].count() == FEWEST_SHOPPERS for group in (held_out, sent)):
            yield campaign
