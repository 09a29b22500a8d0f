"""What a run tries on the last places of some lists: decided at its plan, and a part of what the run is."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from django.db.models import Count, Exists, OuterRef, Sum

from recommender.ml.exploration import Exploration, thompson_chances
from recommender.models import (
    Campaign,
    CampaignCoupon,
    CampaignShopper,
    Publication,
    Redemption,
    Run,
    RunCoupon,
)


def decide_exploration(
    *, campaign: Campaign, coupon_ids: Sequence[str], top: int, as_of: datetime
) -> dict[str, Any] | None:
    """What :attr:`Run.exploration` keeps; None where the campaign tries nothing, or every list has every coupon."""
    if not campaign.exploration_percent or len(coupon_ids) <= top:
        return None
    offers, uses = _count_offers(coupon_ids, as_of), _count_uses(coupon_ids, as_of)
    used = [uses.get(coupon_id, 0) for coupon_id in coupon_ids]
    # What was used may have been handed out beside any list that is known here.
    offered = [max(offers.get(coupon_id, 0), count) for coupon_id, count in zip(coupon_ids, used, strict=True)]
    chances = thompson_chances(offered, used).tolist()
    return {
        "share": float(campaign.exploration_percent) / 100,
        "chances": dict(zip(coupon_ids, chances, strict=True)),
    }


def exploration_of(run: Run, coupon_ids: pl.Series) -> Exploration | None:
    """What a run draws by, its chances in the order of the coupons."""
    if run.exploration is None:
        return None
    chances = np.array([run.exploration["chances"][coupon_id] for coupon_id in coupon_ids])
    return Exploration(run.exploration["share"], chances, salt=run.key)


def _count_offers(coupon_ids: Sequence[str], as_of: datetime) -> dict[str, int]:
    """To how many shoppers each coupon was offered before a moment, by published runs and by imported campaigns."""
    shown = Publication.objects.filter(run=OuterRef("run"), published_at__lt=as_of)
    by_runs = RunCoupon.objects.filter(Exists(shown), coupon__coupon_id__in=coupon_ids)
    offers = dict(by_runs.values_list("coupon__coupon_id").annotate(offers=Sum("shopper_count")).order_by())
    imported = list(
        CampaignCoupon.objects.filter(
            ~Exists(Publication.objects.filter(campaign=OuterRef("campaign"))),
            coupon__coupon_id__in=coupon_ids,
            campaign__starts_at__lt=as_of,
        ).values_list("campaign", "coupon__coupon_id")
    )
    sent = dict(
        CampaignShopper.objects.listed_to_be_sent()
        .filter(campaign__in={campaign for campaign, _coupon in imported}, group=CampaignShopper.Group.TREATMENT)
        .values_list("campaign")
        .annotate(shoppers=Count("pk"))
        .order_by()
    )
    for campaign, coupon_id in imported:
        offers[coupon_id] = offers.get(coupon_id, 0) + sent.get(campaign, 0)
    return offers


def _count_uses(coupon_ids: Sequence[str], as_of: datetime) -> dict[str, int]:
    """How many shoppers used each coupon before a moment."""
    uses = Redemption.objects.filter(coupon__coupon_id__in=coupon_ids, redeemed_at__lt=as_of)
    return dict(uses.values_list("coupon__coupon_id").annotate(shoppers=Count("shopper", distinct=True)).order_by())
