"""Who is sent a campaign and who is held out of it, decided once and recorded before anything is computed."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from recommender.bulk import delete_rows, insert_frame, read_frame, update_frame
from recommender.models import Campaign, CampaignShopper, Shopper
from recommender.models.shoppers import ShopperQuerySet
from recommender.services.holdout import is_held_out
from recommender.services.segments import find_audience

Group, Origin = CampaignShopper.Group, CampaignShopper.Origin

_ROWS = {"shopper_id": pl.Int64, "group": pl.String, "origin": pl.String}


@dataclass(frozen=True)
class Assignment:
    """Whom a campaign is for.

    Attributes:
        sent: how many shoppers are recorded as sent.
        held_out: how many are recorded as held out.
        assigned_at: when that was last decided here; None if the shop's list alone says it.
    """

    sent: int
    held_out: int
    assigned_at: datetime | None


def record_assignment(*, campaign: Campaign, at: datetime) -> Assignment:
    """Decide who is sent a campaign and who is held out, and record it.

    The audience is whom the shop listed; without a list, the campaign's segments as they are at ``at``, less those that
    are excluded; without segments, everyone. Of it the campaign's share is held out. Whom the shop listed as held out
    always is. A campaign for everyone that holds out nobody records nobody.

    Until a run of the campaign has been published, it is decided anew whenever it is asked, so that a changed share or
    segment counts. From then on what is recorded stays, whatever the share becomes: the groups are compared by what
    they bought, and nobody may pass from one to the other.
    """
    with transaction.atomic():
        campaign = Campaign.objects.select_for_update().get(pk=campaign.pk)
        if not campaign.publications.exists() and _write(campaign, _decide(campaign, at)):
            campaign.assigned_at = timezone.now()
            campaign.save(update_fields=["assigned_at"])
    return _count(campaign)


def is_for_everyone(*, campaign: Campaign) -> bool:
    """Whether no record and no list says whom a campaign is for: then it is for all who are not held out.

    One with segments is not, even if they hold nobody. Segments that came after a publication change nothing.
    """
    if campaign.campaign_shoppers.exclude(origin=Origin.SHOP, group=Group.CONTROL).exists():
        return False
    return not campaign.campaign_segments.exists() or campaign.publications.exists()


def foresee_assignment(*, campaign: Campaign, at: datetime) -> tuple[int, int]:
    """About how many shoppers a campaign would be sent to and how many held out, if that were recorded now."""
    if campaign.publications.exists():
        assignment = _count(campaign)
        return assignment.sent, assignment.held_out
    audience = _find_drawn_from(campaign, at).addressable().count()
    held_out = round(audience * campaign.holdout_percent / 100)
    return audience - held_out, held_out + _held_out_by_shop(campaign).count()


def _count(campaign: Campaign) -> Assignment:
    counts = campaign.campaign_shoppers.aggregate(
        sent=Count("pk", filter=Q(group=Group.TREATMENT)), held_out=Count("pk", filter=Q(group=Group.CONTROL))
    )
    return Assignment(**counts, assigned_at=campaign.assigned_at)


def _decide(campaign: Campaign, at: datetime) -> pl.DataFrame:
    """The rows that the campaign should have besides those that are as the shop listed them."""
    if campaign.campaign_shoppers.listed_to_be_sent().exists():
        drawn = _draw(campaign, _find_drawn_from(campaign, at))
        return drawn.filter(pl.col("group") == Group.CONTROL).with_columns(origin=pl.lit(Origin.HOLDOUT.value))
    if not campaign.holdout_percent and not campaign.campaign_segments.exists():
        return pl.DataFrame(schema=_ROWS)
    return _draw(campaign, _find_drawn_from(campaign, at)).with_columns(origin=pl.lit(Origin.AUDIENCE.value))


def _find_drawn_from(campaign: Campaign, at: datetime) -> ShopperQuerySet:
    """Whom a campaign is for, before any are held out of it here."""
    listed = campaign.campaign_shoppers.listed_to_be_sent()
    if listed.exists():
        return Shopper.objects.filter(pk__in=listed.values("shopper"))
    segments = list(campaign.campaign_segments.select_related("segment").order_by("pk"))
    held_out = _held_out_by_shop(campaign).filter(shopper=OuterRef("pk"))
    return find_audience(
        included=[chosen.segment for chosen in segments if not chosen.excluded],
        excluded=[chosen.segment for chosen in segments if chosen.excluded],
        at=at,
    ).filter(~Exists(held_out))


def _held_out_by_shop(campaign: Campaign) -> QuerySet[CampaignShopper]:
    return campaign.campaign_shoppers.filter(origin=Origin.SHOP, group=Group.CONTROL)


def _draw(campaign: Campaign, shoppers: QuerySet[Shopper]) -> pl.DataFrame:
    """Columns ``shopper_id`` (our key) and ``group``."""
    frame = read_frame(
        shoppers.order_by().values_list("pk", "shopper_id"), {"shopper_id": pl.Int64, "identifier": pl.String}
    )
    groups = [
        Group.CONTROL.value
        if is_held_out(campaign_id=campaign.campaign_id, shopper_id=identifier, percent=campaign.holdout_percent)
        else Group.TREATMENT.value
        for identifier in frame["identifier"]
    ]
    return frame.select("shopper_id", pl.Series("group", groups, dtype=pl.String))


def _write(campaign: Campaign, wanted: pl.DataFrame) -> bool:
    """Make the recorded rows the wanted ones, touching no other, and say whether any changed."""
    rows = read_frame(
        campaign.campaign_shoppers.order_by().values_list("pk", "shopper_id", "group", "origin"),
        {"id": pl.Int64, **_ROWS},
    )
    wanted = wanted.select(pl.col(name).cast(kind) for name, kind in _ROWS.items())
    # Whoever the shop listed and is not held out here stands as the shop listed them.
    compared = rows.join(wanted, on="shopper_id", how="left", suffix="_wanted").with_columns(
        pl.when(pl.col("origin") == Origin.HOLDOUT)
        .then(pl.col("group_wanted").fill_null(Group.TREATMENT.value))
        .otherwise(pl.col("group_wanted").fill_null(pl.col("group")))
        .alias("group_wanted"),
        is_gone=(pl.col("origin") == Origin.AUDIENCE) & (pl.col("origin_wanted").fill_null("") != Origin.AUDIENCE),
        origin_wanted=pl.col("origin_wanted").fill_null(Origin.SHOP.value),
    )
    gone = compared.filter("is_gone")
    other = compared.filter(
        ~pl.col("is_gone"),
        (pl.col("group") != pl.col("group_wanted")) | (pl.col("origin") != pl.col("origin_wanted")),
    )
    added = wanted.join(rows, on="shopper_id", how="anti")
    if not gone.is_empty():
        delete_rows(CampaignShopper, gone["id"])
    if not other.is_empty():
        update_frame(
            CampaignShopper, other.select("id", pl.col("group_wanted").alias("group"), origin=pl.col("origin_wanted"))
        )
    if not added.is_empty():
        insert_frame(CampaignShopper, added.with_columns(campaign_id=pl.lit(campaign.pk)))
    return bool(gone.height + other.height + added.height)
