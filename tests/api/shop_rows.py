"""Rows that the tests of the API and of the services behind it are made of."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

from recommender.models import (
    Campaign,
    CampaignCoupon,
    Coupon,
    ModelVersion,
    Publication,
    Recommendation,
    Run,
    Shopper,
    Snapshot,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)

#: What the full shop has of each kind, beside what every shop of the tests has.
HELD, CONFIRMED, GROUP = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
BATCH = 1000

_numbers: Iterator[int] = count()


def make_campaign(campaign_id: str, *coupons: Coupon, **fields: Any) -> Campaign:
    """A campaign that runs now, with its coupons."""
    campaign = Campaign.objects.create(
        campaign_id=campaign_id, **{"starts_at": LONG_AGO, "ends_at": FAR_AHEAD, **fields}
    )
    CampaignCoupon.objects.bulk_create(CampaignCoupon(campaign=campaign, coupon=coupon) for coupon in coupons)
    return campaign


def publish(campaign: Campaign, *offers: tuple[Shopper, Coupon, float], **fields: Any) -> Publication:
    """Put a run on show: each shopper's coupons get ranks in the order given."""
    number = next(_numbers)
    snapshot = Snapshot.objects.create(fingerprint=f"{number:064}")
    model_version = ModelVersion.objects.create(
        algorithm="popularity",
        snapshot=snapshot,
        learned_until=LONG_AGO,
        key=f"{number:064}",
        artifact="artifact",
        artifact_digest="0" * 64,
        training_rows=1,
        training_positives=1,
        fit_seconds=1.0,
        threshold=0.5,
    )
    run = Run.objects.create(
        campaign=campaign,
        model_version=model_version,
        snapshot=snapshot,
        as_of=LONG_AGO,
        top=10,
        key=f"{number:064}",
        state=Run.State.PUBLISHED,
    )
    ranks: dict[Shopper, Iterator[int]] = {}
    Recommendation.objects.bulk_create(
        Recommendation(
            run=run,
            shopper=shopper,
            coupon=coupon,
            rank=next(ranks.setdefault(shopper, count(1))),
            score=score,
            reasons=[{"kind": "used_offer", "times": 2}],
        )
        for shopper, coupon, score in offers
    )
    return Publication.objects.create(campaign=campaign, run=run, **{"published_at": LONG_AGO, **fields})
