"""Learning who buys together, how groups fill and whom they draw: done with every training, and kept for those who ask.

It is read from the tables, not from a snapshot, as of a moment: what is dated later is left out before anything is
learned.
"""

from collections import defaultdict
from datetime import datetime

import polars as pl
from django.db import connection, transaction
from django.utils import timezone

from recommender.bulk import insert_frame, read_frame
from recommender.ml.group_learning import LATELY, MOST_GROUPS, Look, PastGroup, Purchases, learn
from recommender.models import Companion, Event, GroupBuy, GroupBuyMember, GroupModel, OrderLine, Shop
from recommender.progress import Progress
from recommender.services.coupon_targets import find_products
from recommender.wording import gettext as _


def learn_groups(*, as_of: datetime | None = None, progress: Progress = Progress()) -> GroupModel | None:
    """Learn from all groups that were begun before a moment; what was learned before is replaced.

    Args:
        as_of: nothing dated at or after this moment is used; now if it is not given.

    Returns:
        What was learned; None in a shop without groups, where nothing is done.
    """
    moment = as_of or timezone.now()
    begun = GroupBuy.objects.filter(opened_at__lt=moment)
    if not begun.exists():
        return None
    progress.report(_("Learning about groups"))
    members: dict[int, list[tuple[int, datetime]]] = defaultdict(list)
    joined = GroupBuyMember.objects.filter(group__in=begun, joined_at__lt=moment).order_by("joined_at", "pk")
    for group, shopper, at in joined.values_list("group_id", "shopper_id", "joined_at").iterator():
        members[group].append((shopper, at))
    groups = [
        PastGroup(
            coupon=group.coupon_id,
            size=group.size,
            opened_at=group.opened_at,
            closes_at=group.closes_at,
            ended_at=_ended(group, moment),
            filled=group.state == GroupBuy.State.UNLOCKED,
            members=members[group.pk],
        )
        for group in begun.order_by("opened_at", "pk").iterator()
    ]
    since = min(group.opened_at for group in groups) - LATELY
    purchases = Purchases(_read_lines(since, moment), find_products({group.coupon for group in groups}))
    looks = [
        Look(shopper, coupon, at)
        for shopper, coupon, at in Event.objects.filter(
            kind=Event.Kind.VIEW,
            coupon__in={group.coupon for group in groups},
            occurred_at__gte=groups[-MOST_GROUPS:][0].opened_at,
            occurred_at__lt=moment,
        )
        .order_by("occurred_at", "pk")
        .values_list("shopper_id", "coupon_id", "occurred_at")
    ]
    learned = learn(groups, purchases, looks, moment=moment)
    companions = learned.companions.rename({"shopper": "shopper_id", "companion": "companion_id"})
    with transaction.atomic():
        Shop.objects.select_for_update().get(pk=Shop.current().pk)  # one learning at a time replaces what is kept
        Companion.objects.all()._raw_delete(connection.alias)
        GroupModel.objects.all().delete()
        insert_frame(Companion, companions)
        return GroupModel.objects.create(learned_until=moment, content=learned.model.as_json())


def _ended(group: GroupBuy, moment: datetime) -> datetime | None:
    """When a group ended; one whose time is over did, swept or not."""
    if group.ended_at is not None:
        return min(group.ended_at, group.closes_at)
    return group.closes_at if group.state_at(moment) == GroupBuy.State.FAILED else None


def _read_lines(since: datetime, until: datetime) -> pl.DataFrame:
    lines = OrderLine.objects.filter(quantity__gt=0, order__ordered_at__gte=since, order__ordered_at__lt=until)
    return read_frame(
        lines.order_by("order__ordered_at", "pk").values_list(
            "order__shopper_id", "product_id", "product__category_id", "order__ordered_at"
        ),
        {"shopper": pl.Int64, "product": pl.Int64, "category": pl.Int64, "at": pl.Datetime("us", "UTC")},
    )
