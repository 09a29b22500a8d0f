"""What is promised to segments of a campaign: which of a run's shoppers belong to them."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from recommender.bulk import read_frame
from recommender.ml import columns as c
from recommender.models import CampaignSegment
from recommender.services.segments import find_shoppers


def mark_members(*, floors: Sequence[CampaignSegment], shopper_ids: Sequence[str], at: datetime) -> list[int]:
    """Of each shopper, to which segments with a floor they belong at a moment: a bit each, the first floor's lowest.

    Nothing where there is no floor.
    """
    if not floors:
        return []
    bits = pl.DataFrame({c.SHOPPER_ID: shopper_ids}, schema={c.SHOPPER_ID: pl.String}).with_columns(
        bits=pl.lit(0, dtype=pl.UInt64)
    )
    for number, floor in enumerate(floors):
        members = find_shoppers(segment=floor.segment, at=at).order_by().values_list("shopper_id")
        bit = read_frame(members, {c.SHOPPER_ID: pl.String}).with_columns(bit=pl.lit(1 << number, dtype=pl.UInt64))
        marked = bits.join(bit, on=c.SHOPPER_ID, how="left", maintain_order="left")
        bits = marked.select(c.SHOPPER_ID, pl.col("bits") | pl.col("bit").fill_null(0))
    return bits["bits"].to_list()
