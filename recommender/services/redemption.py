"""The use of a coupon, within its window and its limits."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db import models
from django.db.models import Expression, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from recommender.models import Campaign, Coupon, Order, Publication, Redemption, SaleEvent, Shopper
from recommender.services import counters
from recommender.services.funding import payers_of
from recommender.services.holding import expire, fail_groups, keys_of, lock_items, lock_overdue
from recommender.services.patience import patient_transaction
from recommender.services.webhooks import announce_redemption


class UnknownReference(LookupError):
    """``field`` names something that the shop does not have. The message is for people."""

    def __init__(self, field: str, model: type[models.Model], identifier: str) -> None:
        super().__init__(_("There is no %(thing)s %(id)s.") % {"thing": model._meta.verbose_name, "id": identifier})
        self.field = field


class RedemptionRefused(ValueError):
    """The coupon cannot be used so. ``code`` is for machines, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def redeem_coupon(
    *,
    shopper_id: str,
    coupon_id: str,
    redeemed_at: datetime,
    at: datetime,
    campaign_id: str | None = None,
    order_id: str | None = None,
    discount_amount: Decimal | None = None,
) -> tuple[Redemption, bool]:
    """Record that a shopper used a coupon, once.

    The same shopper, coupon, time and order (and campaign, where one is given) are the same use: the first is returned
    with ``False`` and nothing changes, even when the coupon is closed or used up by now. A new use must fall into the
    coupon's window and into that of a campaign that holds it, and keep limits and budgets, however many ask at once.
    What is held by reservations and groups whose time is over at ``at``, when this is asked, is free, whether the sweep
    took it back or not.

    Without ``campaign_id`` it is the only live campaign that holds the coupon; among several the only one whose
    publication, on show at that moment, offered it to this shopper; else the use is recorded without a campaign.

    Returns:
        The redemption, and whether it is new.

    Raises:
        UnknownReference: no such shopper, coupon, campaign or order.
        RedemptionRefused: ``order_of_another_shopper``, ``coupon_not_open``, ``no_live_campaign``,
            ``sale_event_not_on``, or the code of the limit or budget that does not allow it.
        Busy: others use the same coupon for too long, or history is being loaded.
    """
    with patient_transaction():
        counters.lock_redemptions()
        key = Coupon.objects.filter(coupon_id=coupon_id).values_list("pk", flat=True).first()
        if key is None:
            raise UnknownReference("coupon_id", Coupon, coupon_id)
        holding = Campaign.objects.filter(coupons=key).values_list("pk", flat=True)
        overdue = lock_overdue(
            coupons=[key],
            campaigns=list(holding),
            events=list(holding.filter(sale_event__isnull=False).values_list("sale_event", flat=True)),
            at=at,
        )
        items = lock_items([reservation.pk for reservation in overdue])
        held = keys_of(item for own in items.values() for item in own)
        # Whoever uses this coupon waits here, and is then held to its limits as they are.
        counted = counters.lock_counters(coupons={key, *held["coupons"]}, campaigns=[])
        coupon = Coupon.objects.get(pk=key)
        shopper = Shopper.objects.filter(shopper_id=shopper_id).first()
        if shopper is None:
            raise UnknownReference("shopper_id", Shopper, shopper_id)
        order = find_order(order_id, shopper)
        campaign = _find_campaign(campaign_id)

        same = Redemption.objects.filter(shopper=shopper, coupon=coupon, redeemed_at=redeemed_at, order=order)
        if campaign is not None:
            same = same.filter(campaign=campaign)
        first = same.select_related("shopper", "coupon", "campaign", "order").order_by("pk").first()
        if first is not None:
            return first, False

        _check_open(coupon, redeemed_at)
        campaign = _choose_campaign(campaign, coupon, shopper, redeemed_at)
        counters.lock_campaigns(counted, campaigns=held["campaigns"] | ({campaign.pk} if campaign else set()))
        if campaign is not None:
            campaign.refresh_from_db()  # staff may have changed its budget while others held it
        event = campaign.sale_event_id if campaign is not None else None
        counters.lock_events(counted, events=held["events"] | ({event} if event is not None else set()))
        if event is not None:
            _check_event(counted.events[event].event, coupon, redeemed_at)
        expire(counted, overdue, items, at=at)
        fail_groups(counted, coupons=[key] if coupon.group_size is not None else [], at=at)
        use = counters.Use(
            coupon=coupon,
            shopper_id=shopper.pk,
            campaign=campaign,
            at=redeemed_at,
            amount=discount_amount or counters.NOTHING,
            sale_event=event,
        )
        try:
            counters.take(counted, use=use)
        except counters.LimitReached as reached:
            raise _describe_limit(reached, campaign) from reached
        redemption = Redemption.objects.create(
            shopper=shopper,
            coupon=coupon,
            redeemed_at=redeemed_at,
            campaign=campaign,
            order=order,
            discount_amount=discount_amount,
            **payers_of(coupon=coupon, discount=discount_amount),
        )
        announce_redemption(redemption=redemption)
        return redemption, True


def _describe_limit(reached: counters.LimitReached, campaign: Campaign | None) -> RedemptionRefused:
    """The refusal of a use that a limit or a budget does not allow."""
    message = {
        "per_shopper_limit": _("The shopper used coupon %(id)s as often as one shopper may."),
        "per_day_limit": _("The shopper used coupon %(id)s as often as one shopper may in a day."),
        "per_week_limit": _("The shopper used coupon %(id)s as often as one shopper may in a week."),
        "per_month_limit": _("The shopper used coupon %(id)s as often as one shopper may in a month."),
        "total_limit": _("Coupon %(id)s is used up."),
        "budget": _("The budget of coupon %(id)s does not pay for this use."),
        "campaign_budget": _("The budget of campaign %(campaign)s does not pay for this use."),
        "sale_event_hour": _("What has come of the sale event's budget does not pay for this use of coupon %(id)s."),
        "sale_event_budget": _("The budget of the sale event does not pay for this use of coupon %(id)s."),
    }[reached.limit]
    facts = {"id": reached.coupon.coupon_id, "campaign": campaign.campaign_id if campaign else ""}
    return RedemptionRefused(counters.REACHED[reached.limit], message % facts)


def find_order(order_id: str | None, shopper: Shopper) -> Order | None:
    """The shopper's order of that identifier; None where none is given.

    Raises:
        UnknownReference: there is no such order.
        RedemptionRefused: ``order_of_another_shopper``.
    """
    if order_id is None:
        return None
    order = Order.objects.filter(order_id=order_id).first()
    if order is None:
        raise UnknownReference("order_id", Order, order_id)
    if order.shopper_id != shopper.pk:
        raise RedemptionRefused("order_of_another_shopper", _("Order %(id)s is another shopper's.") % {"id": order_id})
    return order


def _find_campaign(campaign_id: str | None) -> Campaign | None:
    if campaign_id is None:
        return None
    campaign = Campaign.objects.filter(campaign_id=campaign_id).first()
    if campaign is None:
        raise UnknownReference("campaign_id", Campaign, campaign_id)
    return campaign


def _check_open(coupon: Coupon, at: datetime) -> None:
    if not Coupon.objects.open_at(at).filter(pk=coupon.pk).exists():
        raise RedemptionRefused(
            "coupon_not_open", _("Coupon %(id)s is not open at that time.") % {"id": coupon.coupon_id}
        )


def _check_event(event: SaleEvent, coupon: Coupon, at: datetime) -> None:
    if not event.starts_at <= at < event.ends_at:
        raise RedemptionRefused(
            "sale_event_not_on",
            _("The sale event %(event)s of coupon %(id)s is not on at that time.")
            % {"event": event, "id": coupon.coupon_id},
        )


def _choose_campaign(wanted: Campaign | None, coupon: Coupon, shopper: Shopper, at: datetime) -> Campaign | None:
    live = Campaign.objects.live_at(at).filter(coupons=coupon)
    candidates = list(live if wanted is None else live.filter(pk=wanted.pk))
    if not candidates:
        message = (
            _("No campaign with coupon %(coupon)s runs at that time.")
            if wanted is None
            else _("Campaign %(campaign)s does not run with coupon %(coupon)s at that time.")
        )
        raise RedemptionRefused(
            "no_live_campaign",
            message % {"coupon": coupon.coupon_id, "campaign": wanted.campaign_id if wanted else ""},
        )
    if len(candidates) > 1:
        candidates = offering_campaigns(candidates, coupon, shopper, at)
    return candidates[0] if len(candidates) == 1 else None


def offering_campaigns(
    candidates: Iterable[Campaign], coupon: Coupon, shopper: Shopper, at: datetime
) -> list[Campaign]:
    """Those of the campaigns whose publication, on show at a moment, offered the coupon to the shopper."""
    candidates = list(candidates)
    offering = set(
        offering_publications(coupon=coupon.pk, shopper=shopper.pk, at=at)
        .filter(campaign__in=candidates)
        .values_list("campaign_id", flat=True)
    )
    return [candidate for candidate in candidates if candidate.pk in offering]


def offering_publications(
    *, coupon: int | OuterRef, shopper: int | Expression, at: datetime | Expression
) -> QuerySet[Publication]:
    """Those that were on show at a moment and offered the coupon to the shopper."""
    return Publication.objects.filter(
        Q(ended_at__isnull=True) | Q(ended_at__gt=at),
        published_at__lte=at,
        run__recommendations__shopper=shopper,
        run__recommendations__coupon=coupon,
        run__recommendations__excluded=False,
    )
