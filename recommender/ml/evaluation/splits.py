"""What may be learned from, and what is predicted: campaigns divided by time.

Campaigns are frames with the columns campaign, starts_at and ends_at (UTC), as in a snapshot.
"""

from calendar import monthrange
from datetime import UTC, datetime

import polars as pl

from recommender.ml import columns as c

VALIDATION_MONTHS = 4


def walk_forward(campaigns: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """The campaigns that start in [start, end), the earliest first: each is predicted as of its own start.

    Raises:
        ValueError: the end is before the start, or one of them has no time zone.
    """
    start, end = _in_utc(start), _in_utc(end)
    if end < start:
        raise ValueError(f"The period ends at {end.isoformat()}, before it starts at {start.isoformat()}.")
    in_period = pl.col(c.STARTS_AT).is_between(start, end, closed="left")
    return campaigns.filter(in_period).sort(c.STARTS_AT, c.CAMPAIGN)


def teaching_campaigns(campaigns: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """The campaigns that were over strictly before the moment, all outcomes known; the earliest first.

    Raises:
        ValueError: the moment has no time zone.
    """
    moment = _in_utc(moment)
    over = (pl.col(c.STARTS_AT) < moment) & (pl.col(c.ENDS_AT) < moment)
    return campaigns.filter(over).sort(c.STARTS_AT, c.CAMPAIGN)


def default_validation_start(test_start: datetime) -> datetime:
    """Four calendar months before the test period, same time of day; the last day of a month that is too short."""
    months = test_start.year * 12 + test_start.month - 1 - VALIDATION_MONTHS
    year, month = months // 12, months % 12 + 1
    return test_start.replace(year=year, month=month, day=min(test_start.day, monthrange(year, month)[1]))


def label_pairs(pairs: pl.DataFrame, redemptions: pl.DataFrame, *, before: datetime) -> pl.DataFrame:
    """The pairs, in their order, with a boolean column label: the coupon was used in the campaign before a moment.

    Args:
        pairs: columns campaign, shopper and coupon, n rows.
        redemptions: columns campaign, shopper, coupon and redeemed_at; one without a campaign labels nothing.
        before: only redemptions strictly before it count. For a validation campaign it is the start of the test period,
            since later redemptions would not have been known.

    Raises:
        ValueError: the moment has no time zone.
    """
    before = _in_utc(before)
    key = [c.CAMPAIGN, c.SHOPPER, c.COUPON]
    used = redemptions.filter(pl.col(c.REDEEMED_AT) < before).select(key).unique().with_columns(label=pl.lit(True))
    return pairs.join(used, on=key, how="left", maintain_order="left").with_columns(pl.col(c.LABEL).fill_null(False))


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"The moment {moment.isoformat()} has no time zone.")
    return moment.astimezone(UTC)  # polars compares times of one zone only
