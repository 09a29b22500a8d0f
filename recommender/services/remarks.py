"""What is worth a second look in a campaign or a coupon although it may be meant so."""

from datetime import datetime
from decimal import Decimal
from itertools import combinations

from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recommender.models import Campaign, Coupon, CouponTarget

NAMED = 3  # the others are counted


def remark_on_campaign(*, campaign: Campaign, now: datetime) -> list[str]:
    """Sentences about a saved campaign; none if nothing about it is odd."""
    coupons = campaign.coupons.order_by("coupon_id")
    remarks = []
    if campaign.ends_at <= now:
        remarks.append(_("The campaign ended on %(day)s.") % {"day": _day(campaign.ends_at)})
    if not coupons.exists():
        return [*remarks, _("The campaign has no coupon: there is nothing to recommend.")]
    remarks += _remark_on_windows(campaign, coupons)
    remarks += _remark_on_limits(campaign, coupons)
    remarks += _remark_on_exclusive(coupons.filter(active=True, stackable=False))
    return remarks + _remark_on_audience(campaign)


def remark_on_coupon(*, coupon: Coupon, now: datetime) -> list[str]:
    """Sentences about a saved coupon; none if nothing about it is odd."""
    remarks = []
    if coupon.ends_at is not None and coupon.ends_at <= now:
        remarks.append(_("The coupon ended on %(day)s.") % {"day": _day(coupon.ends_at)})
    if not coupon.active:
        remarks.append(_("The coupon is not active: it is neither recommended nor accepted."))
    if not coupon.targets.exists():
        remarks.append(_("The coupon has no target: it holds for the whole shop."))
    if coupon.discount_value is None and coupon.discount_type not in ("free_shipping", "buy_x_get_y"):
        remarks.append(
            _(
                "The discount is not known: what the coupon costs can be told from past uses only, and it cannot be "
                "used at the checkout."
            )
        )
    if coupon.discount_type == Coupon.DiscountType.BUY_X_GET_Y and coupon.buy_quantity is None:
        remarks.append(_("How many to buy and to get is not known: the coupon cannot be used at the checkout."))
    single = _single_discount(coupon)
    if single is not None and coupon.budget is not None and coupon.budget < single:
        remarks.append(
            _("The budget does not pay for a single use, which may take off %(amount)s.") % {"amount": single}
        )
    if _exceeds(coupon.per_shopper_limit, coupon.total_limit):
        remarks.append(_("The limit per shopper is above the total limit and never reached."))
    if _has_idle_limit(coupon):
        remarks.append(_("A limit per shopper is above that over a longer time and never reached."))
    if coupon.exclusion_group and not coupon.stackable:
        remarks.append(_("“Only one of” changes nothing: a coupon that is not stackable is used alone anyway."))
    if coupon.group_size is not None and _exceeds(coupon.group_size, coupon.total_limit):
        remarks.append(_("The total limit is below the size of a group: not all of its shoppers can use the coupon."))
    return remarks + _remark_on_campaigns_of(coupon)


def _remark_on_windows(campaign: Campaign, coupons: QuerySet[Coupon]) -> list[str]:
    never = Q(starts_at__gte=campaign.ends_at) | Q(ends_at__lte=campaign.starts_at)
    partly = Q(starts_at__gt=campaign.starts_at) | Q(ends_at__lt=campaign.ends_at)
    outside = coupons.filter(never, active=True)
    inside = coupons.filter(partly, active=True).exclude(pk__in=outside.values("pk"))
    inactive = coupons.filter(active=False)
    return [
        *_about(outside, _("Outside the window of the campaign, so that nobody gets them: %(coupons)s.")),
        *_about(inside, _("They hold for a part of the campaign only: %(coupons)s.")),
        *_about(inactive, _("Not active, so that nobody gets them: %(coupons)s.")),
    ]


def _remark_on_limits(campaign: Campaign, coupons: QuerySet[Coupon]) -> list[str]:
    whole_shop = coupons.filter(targets__isnull=True)
    remarks = _about(whole_shop, _("Without a target, so that they hold for the whole shop: %(coupons)s."))
    if campaign.budget is not None:
        dear = coupons.filter(
            Q(discount_type=Coupon.DiscountType.AMOUNT, discount_value__gt=campaign.budget)
            | ~Q(discount_type=Coupon.DiscountType.AMOUNT) & Q(max_discount__gt=campaign.budget)
        )
        remarks += _about(dear, _("The budget of the campaign does not pay for a single use of: %(coupons)s."))
    return remarks


def _remark_on_exclusive(exclusive: QuerySet[Coupon]) -> list[str]:
    """Coupons that cannot be combined and are for the same thing: a shopper must choose."""
    targets = CouponTarget.objects.filter(coupon__in=exclusive.values("pk"))
    shared = sum(
        targets.exclude(**{name: nothing})
        .order_by()
        .values(name)
        .annotate(coupons=Count("coupon"))
        .filter(coupons__gt=1)
        .count()
        for name, nothing in (("product", None), ("category", None), ("brand", ""))
    )
    remarks = []
    if shared:
        remarks.append(
            ngettext(
                "%(count)s product, category or brand has several coupons that cannot be combined: "
                "a shopper must choose one.",
                "%(count)s products, categories or brands have several coupons each that cannot be combined: "
                "a shopper must choose one.",
                shared,
            )
            % {"count": number_format(shared, force_grouping=True)}
        )
    if exclusive.filter(targets__isnull=True).exists() and exclusive.count() > 1:
        remarks.append(
            _("A coupon for the whole shop cannot be combined with the others: whoever uses it cannot use another.")
        )
    return remarks


def _remark_on_audience(campaign: Campaign) -> list[str]:
    remarks = []
    has_segments = campaign.campaign_segments.exists()
    listed = campaign.campaign_shoppers.listed_to_be_sent()
    if has_segments and listed.exists():
        remarks.append(_("The shop listed who gets this campaign: the list decides, and the segments are not used."))
    if (has_segments or campaign.holdout_percent) and campaign.publications.exists():
        remarks.append(
            _("Something of it was published: who is sent it and who is held out stays as it was recorded then.")
        )
    return remarks


def _remark_on_campaigns_of(coupon: Coupon) -> list[str]:
    missed = Q()
    if coupon.starts_at is not None:
        missed |= Q(ends_at__lte=coupon.starts_at)
    if coupon.ends_at is not None:
        missed |= Q(starts_at__gte=coupon.ends_at)
    if not missed:
        return []
    campaigns = coupon.campaigns.filter(missed).order_by("starts_at", "pk")
    named = [str(campaign) for campaign in campaigns[: NAMED + 1]]
    if not named:
        return []
    told = _enumerate(named, campaigns.count() if len(named) > NAMED else len(named))
    return [_("It does not hold while these campaigns of it run: %(campaigns)s.") % {"campaigns": told}]


def _about(coupons: QuerySet[Coupon], sentence: str) -> list[str]:
    named = [str(coupon) for coupon in coupons[: NAMED + 1]]
    if not named:
        return []
    return [sentence % {"coupons": _enumerate(named, coupons.count() if len(named) > NAMED else len(named))}]


def _enumerate(named: list[str], total: int) -> str:
    text = ", ".join(named[:NAMED])
    others = total - NAMED
    if others <= 0:
        return text
    return ngettext("%(names)s and %(count)s other", "%(names)s and %(count)s others", others) % {
        "names": text,
        "count": number_format(others, force_grouping=True),
    }


def _single_discount(coupon: Coupon) -> Decimal | None:
    """The most that one use takes off, where that is known."""
    if coupon.discount_type == Coupon.DiscountType.AMOUNT:
        return coupon.discount_value
    return coupon.max_discount


def _has_idle_limit(coupon: Coupon) -> bool:
    limits = [coupon.per_day_limit, coupon.per_week_limit, coupon.per_month_limit, coupon.per_shopper_limit]
    return any(_exceeds(limit, longer) for limit, longer in combinations(limits, 2))


def _exceeds(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one > other


def _day(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "DATE_FORMAT")
