"""How often a shopper is sent campaigns: who was sent as many as the shop allows, and is left out of the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, Exists, F, IntegerField, OuterRef, Q, Value, When
from django.db.models.expressions import Combinable

from recommender.models import Publication, Recommendation, Run, Shop, Shopper
from recommender.models.shoppers import ShopperQuerySet


@dataclass(frozen=True)
class ContactLimit:
    """At most so many campaigns in so many days for a shopper."""

    most: int
    days: int

    @classmethod
    def of(cls, shop: Shop) -> "ContactLimit | None":
        """The shop's; None where it has none."""
        if shop.contact_most is None or shop.contact_days is None:
            return None
        return cls(shop.contact_most, shop.contact_days)

    @classmethod
    def kept(cls, contact_limit: Mapping[str, int] | None) -> "ContactLimit | None":
        """The one of a run, as :attr:`Run.contact_limit` keeps it; None without one."""
        return None if contact_limit is None else cls(contact_limit["most"], contact_limit["days"])


def leave_out_contacted(
    *, shoppers: ShopperQuerySet, campaign_key: int, limit: ContactLimit, at: datetime
) -> ShopperQuerySet:
    """Those of some shoppers who were sent fewer than ``limit.most`` other campaigns in the days before ``at``.

    A shopper was sent a campaign if a run of it with a list for them was published, at the moment of publishing or when
    the campaign began, whichever is later; also one that is to begin later. What ended before its campaign began was
    sent to nobody. In an experiment the list of any arm counts.
    """
    since = at - timedelta(days=limit.days)
    published = (
        Publication.objects.filter(
            Q(published_at__gt=since) | Q(campaign__starts_at__gt=since),
            Q(ended_at__isnull=True) | Q(ended_at__gt=F("campaign__starts_at")),
            published_at__lt=at,
        )
        .exclude(campaign=campaign_key)
        .order_by("campaign", "run")
    )
    runs: dict[int, set[int]] = {}
    for other, run_key in published.values_list("campaign_id", "run_id"):
        runs.setdefault(other, set()).add(run_key)
    if len(runs) < limit.most:
        return shoppers
    # A look into the index for each shopper and campaign: to count the lists would be to read all their rows.
    of_shopper = Recommendation.objects.offered().filter(shopper=OuterRef("pk")).order_by()
    sent: Combinable = Value(0)
    for of_campaign in runs.values():
        is_sent = Exists(of_shopper.filter(run__in=sorted(of_campaign)))
        sent += Case(When(is_sent, then=1), default=0, output_field=IntegerField())
    return shoppers.alias(sent=sent).filter(sent__lt=limit.most)


def was_contacted(*, run: Run, shopper: Shopper) -> bool:
    """Whether a run left a shopper out because of the campaigns that they had been sent."""
    limit = ContactLimit.kept(run.contact_limit)
    if limit is None:
        return False
    alone = Shopper.objects.filter(pk=shopper.pk)
    return not leave_out_contacted(shoppers=alone, campaign_key=run.campaign_id, limit=limit, at=run.as_of).exists()
