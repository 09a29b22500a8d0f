"""What a campaign changed: its shoppers beside those who were held out of it.

The groups are compared as they were recorded, whoever saw the campaign. The maths is in
:mod:`recommender.ml.incrementality`, its assumptions in docs/incrementality.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Count, F, FloatField, Max, Min, Q, QuerySet, Sum
from django.utils import timezone

from recommender.models import (
    CATEGORY_SEPARATOR,
    Campaign,
    CampaignShopper,
    Coupon,
    CouponTarget,
    Order,
    OrderLine,
    Product,
    Redemption,
    Shopper,
)
from recommender.services.holdout import DIGESTS, digest_of
from recommender.services.reporting import group_by_segment

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

Group, Origin = CampaignShopper.Group, CampaignShopper.Origin

#: Coupons told apart, those that were used most.
COUPONS_TOLD_APART = 20
#: How often groups that may be compared are said to differ before the campaign.
FALSE_ALARMS = 0.001


@dataclass(frozen=True)
class Change:
    """What the campaign changed of one thing, for all whom it was sent to.

    Attributes:
        outcome: ``uses``, ``purchases``, ``revenue`` or ``margin``.
        value, low, high: in all, with a 95 % interval; None where it is unknown.
        treated_mean, held_out_mean: of a shopper in each group; None for an empty one.
        verdict: of :class:`recommender.ml.incrementality.Verdict`.
    """

    outcome: str
    value: float | None
    low: float | None
    high: float | None
    treated_mean: float | None
    held_out_mean: float | None
    verdict: str


@dataclass(frozen=True)
class Share:
    """A number within a whole, with a 95 % interval; None where it is unknown."""

    whole: float
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Part:
    """Changes among some of the shoppers."""

    name: str
    treated: int
    held_out: int
    changes: list[Change]


@dataclass(frozen=True)
class Incrementality:
    """
    Attributes:
        treated, held_out: shoppers who are compared.
        drawn: whether the held out were drawn here; else the shop chose them.
        since, until: what was bought from then to then is compared.
        is_over: whether data reach to the campaign's end; before that, intervals hold at all looks together.
        expected_share: of the shoppers that was to be held out; None where they were not drawn here.
        size_p_value: of so different sizes by chance; None where nothing was expected.
        misplaced: shoppers in another group than the one they were drawn into.
        before_p_value: of so great a difference before the campaign by chance; None where nobody had bought anything.
        whole: uses, purchases, revenue, and margin if the costs of all that was sold are known.
        by_coupon: purchases and revenue of what the coupon is for.
        anyway: uses of the campaign's coupons, and of them those in purchases that would have been made without it.
        discount_anyway: the same in money.
    """

    campaign: Campaign
    treated: int
    held_out: int
    drawn: bool = True
    since: datetime | None = None
    until: datetime | None = None
    is_over: bool = False
    expected_share: float | None = None
    size_p_value: float | None = None
    misplaced: int = 0
    before_p_value: float | None = None
    whole: list[Change] = field(default_factory=list)
    by_coupon: list[tuple[Coupon, list[Change]]] = field(default_factory=list)
    by_segment: list[Part] = field(default_factory=list)
    anyway: Share | None = None
    discount_anyway: Share | None = None

    @property
    def sizes_mismatch(self) -> bool:
        return self.misplaced > 0 or (self.size_p_value is not None and self.size_p_value < FALSE_ALARMS)

    @property
    def differed_before(self) -> bool:
        return self.before_p_value is not None and self.before_p_value < FALSE_ALARMS

    @property
    def comparable(self) -> bool:
        """Whether anything may be believed of what is said of the campaign."""
        return not self.sizes_mismatch and not self.differed_before


def has_holdout(*, campaign: Campaign) -> bool:
    """Whether anybody is recorded as held out."""
    return campaign.campaign_shoppers.filter(group=Group.CONTROL).exists()


def measure_incrementality(*, campaign: Campaign, now: datetime | None = None) -> Incrementality:
    """Compare whom a campaign was sent to with whom it was held out from, as far as data go.

    Without held-out shoppers, or before anything was bought in the window, there is nothing to compare.
    """
    if not has_holdout(campaign=campaign):
        return Incrementality(campaign, treated=campaign.campaign_shoppers.count(), held_out=0)
    drawn = campaign.campaign_shoppers.filter(group=Group.CONTROL).exclude(origin=Origin.SHOP).exists()
    compared = campaign.campaign_shoppers.all()
    if drawn:  # whom the shop held out besides was not drawn with the others
        compared = compared.exclude(group=Group.CONTROL, origin=Origin.SHOP)
    counts = compared.aggregate(
        treated=Count("pk", filter=Q(group=Group.TREATMENT)), held_out=Count("pk", filter=Q(group=Group.CONTROL))
    )
    published_at = campaign.publications.aggregate(first=Min("published_at"))["first"]
    since = max(filter(None, (campaign.starts_at, published_at)))
    known_until = Order.objects.filter(ordered_at__lt=now or timezone.now()).aggregate(last=Max("ordered_at"))["last"]
    found = Incrementality(
        campaign=campaign,
        **counts,
        drawn=drawn,
        since=since,
        until=known_until and min(known_until + timedelta.resolution, campaign.ends_at),  # the last order as well
        is_over=bool(known_until and known_until >= campaign.ends_at),
    )
    if not found.treated or not found.held_out or found.until is None or not since < found.until:
        return found
    return _Comparison(found, compared).measure()


class _Comparison:
    """The shoppers of a campaign as arrays, (shoppers,) each, and what is measured of them."""

    def __init__(self, found: Incrementality, compared: QuerySet[CampaignShopper]) -> None:
        import numpy as np
        import polars as pl

        from recommender.bulk import read_frame

        assert found.since is not None
        assert found.until is not None
        self._found, self._compared = found, compared
        self._since, self._until = found.since, found.until
        self._share_seen = (found.until - found.since) / (found.campaign.ends_at - found.since)
        self._shoppers = read_frame(
            compared.order_by().values_list("shopper_id", "shopper__shopper_id", "group"),
            {"shopper": pl.Int64, "identifier": pl.String, "group": pl.String},
        ).sort("shopper")
        self._treated: np.ndarray = (self._shoppers["group"] == Group.TREATMENT).to_numpy()
        lines = self._lines(self._since, self._until)
        [self._revenue, cost, unknown] = self._columns(
            lines.values_list("order__shopper").annotate(
                amount=Sum("amount"),
                cost=Sum(F("quantity") * F("product__cost"), output_field=FloatField()),
                unknown=Count("pk", filter=Q(product__cost__isnull=True)),
            ),
            3,
        )
        self._margin = None if unknown.any() else self._revenue - cost
        length = found.campaign.ends_at - found.since
        before = self._lines(self._since - length, self._since)
        [self._before] = self._columns(before.values_list("order__shopper").annotate(amount=Sum("amount")), 1)
        coupons = found.campaign.coupons.all()
        [self._purchases, _amount] = self._purchases_of(coupons)
        uses = Redemption.objects.filter(
            redeemed_at__gte=self._since, redeemed_at__lt=self._until, shopper__in=compared.values("shopper")
        )
        [self._uses] = self._columns(uses.values_list("shopper").annotate(uses=Count("pk")), 1)
        own = uses.filter(campaign=found.campaign)
        [self._own_uses, told] = self._columns(
            own.values_list("shopper").annotate(uses=Count("pk"), told=Sum("discount_amount")), 2
        )
        silent = own.filter(discount_amount__isnull=True)
        of_lines = OrderLine.objects.filter(order__in=silent.values("order"), coupon__in=silent.values("coupon"))
        [more] = self._columns(of_lines.values_list("order__shopper").annotate(told=Sum("coupon_discount")), 1)
        self._discount = told + more

    def measure(self) -> Incrementality:
        from dataclasses import replace

        from recommender.ml.incrementality import check_balance, check_sample_ratio, measure_bought_anyway

        found = self._found
        expected_share, misplaced = self._check_groups() if found.drawn else (None, 0)
        sizes = None
        if expected_share is not None and 0 < expected_share < 1:
            sizes = check_sample_ratio(treated=found.treated, held_out=found.held_out, expected_share=expected_share)
        anyway = measure_bought_anyway(
            self._treated,
            uses=self._own_uses,
            discount=self._discount,
            purchases=self._purchases,
            before=self._before,
            share_seen=None if found.is_over else self._share_seen,
        )
        outcomes = {"uses": self._uses, "purchases": self._purchases, "revenue": self._revenue}
        if self._margin is not None:
            outcomes["margin"] = self._margin
        return replace(
            found,
            expected_share=expected_share,
            size_p_value=None if sizes is None else sizes.p_value,
            misplaced=misplaced,
            before_p_value=check_balance(self._treated, self._before),
            whole=self._changes(outcomes),
            by_coupon=self._by_coupon(),
            by_segment=self._by_segment({name: outcome for name, outcome in outcomes.items() if name != "uses"}),
            anyway=Share(anyway.uses, anyway.uses_anyway.value, anyway.uses_anyway.low, anyway.uses_anyway.high),
            discount_anyway=Share(
                anyway.discount,
                anyway.discount_anyway.value,
                anyway.discount_anyway.low,
                anyway.discount_anyway.high,
            ),
        )

    def _changes(
        self, outcomes: Mapping[str, "np.ndarray"], *, among: "np.ndarray | None" = None, parts: int = 1
    ) -> list[Change]:
        """What changed among some shoppers; with several parts, so sure that all of them hold together."""
        from recommender.ml.incrementality import confidence_sequence, judge, measure_effect

        confidence = 1 - 0.05 / max(parts, 1)
        changes = []
        for name, outcome in outcomes.items():
            chosen = slice(None) if among is None else among
            effect = measure_effect(self._treated[chosen], outcome[chosen], self._before[chosen])
            effect = effect.times(effect.treated)
            interval = (
                effect.interval(confidence)
                if self._found.is_over
                else confidence_sequence(effect, self._share_seen, confidence)
            )
            low, high = interval or (None, None)
            number = effect.treated or 1
            changes.append(
                Change(
                    outcome=name,
                    value=effect.value,
                    low=low,
                    high=high,
                    treated_mean=None if effect.treated_mean is None else effect.treated_mean / number,
                    held_out_mean=None if effect.held_out_mean is None else effect.held_out_mean / number,
                    verdict=judge(effect, interval).value,
                )
            )
        return changes

    def _by_coupon(self) -> list[tuple[Coupon, list[Change]]]:
        coupons = self._found.campaign.coupons.annotate(
            uses=Count("redemptions", filter=Q(redemptions__campaign=self._found.campaign))
        ).order_by("-uses", "coupon_id")[:COUPONS_TOLD_APART]
        told = []
        for coupon in coupons:
            [purchases, amount] = self._purchases_of([coupon])
            outcomes = {"purchases": purchases, "revenue": amount}
            told.append((coupon, self._changes(outcomes, parts=len(coupons))))
        return told

    def _by_segment(self, outcomes: Mapping[str, "np.ndarray"]) -> list[Part]:
        import numpy as np

        segments = group_by_segment(campaign=self._found.campaign)
        told = []
        for name, members in segments.items():
            among = np.isin(self._shoppers["shopper"].to_numpy(), _keys(members))
            if among.any():
                treated = int((self._treated & among).sum())
                changes = self._changes(outcomes, among=among, parts=len(segments))
                told.append(Part(name, treated, int(among.sum()) - treated, changes))
        return told

    def _check_groups(self) -> tuple[float, int]:
        """The share that was to be held out, and how many shoppers are in another group than they were drawn into.

        The share may have been changed since the groups were fixed: it is the one that the groups agree with best, and
        of those that the campaign has now, if that is one of them.
        """
        import numpy as np

        campaign = self._found.campaign
        digests = np.array(
            [
                digest_of(campaign_id=campaign.campaign_id, shopper_id=identifier)
                for identifier in self._shoppers["identifier"]
            ],
            dtype=np.float64,
        )
        digests /= DIGESTS
        order = np.argsort(digests)
        held_out = ~self._treated[order]
        # With the first k held out: those of them who are treated, and the held out among the others.
        wrong = (
            np.concatenate([[0], np.cumsum(~held_out)]) + held_out.sum() - np.concatenate([[0], np.cumsum(held_out)])
        )
        now = float(campaign.holdout_percent) / 100
        best = int(wrong.min())
        if 0 < now < 1 and wrong[np.searchsorted(digests[order], now)] == best:
            return now, best
        edges = np.concatenate([[0.0], digests[order], [1.0]])
        at = int(wrong.argmin())
        return float((edges[at] + edges[at + 1]) / 2), best

    def _lines(self, since: datetime, until: datetime) -> QuerySet[OrderLine]:
        return OrderLine.objects.filter(
            order__ordered_at__gte=since,
            order__ordered_at__lt=until,
            order__shopper__in=self._compared.values("shopper"),
        )

    def _purchases_of(self, coupons: Iterable[Coupon]) -> list["np.ndarray"]:
        """Orders with something that any of the coupons is for, and what was paid for it."""
        lines = self._lines(self._since, self._until)
        products = _find_products(coupons)
        if products is not None:
            lines = lines.filter(product__in=products)
        grouped = lines.values_list("order__shopper").annotate(
            orders=Count("order", distinct=True), amount=Sum("amount")
        )
        return self._columns(grouped, 2)

    def _columns(self, grouped: QuerySet, number: int) -> list["np.ndarray"]:
        return read_columns(self._shoppers["shopper"], grouped, number)


def read_columns(shoppers: "pl.Series", grouped: QuerySet, number: int) -> list["np.ndarray"]:
    """What a query says by shopper, as arrays, (shoppers,) each; 0 for those of whom it says nothing.

    Args:
        shoppers: our keys, in the order of the arrays.
        grouped: a ``values_list()`` of the shopper's key and so many numbers.
    """
    import polars as pl

    from recommender.bulk import read_frame

    names = [f"column_{place}" for place in range(number)]
    frame = read_frame(grouped.order_by(), {"shopper": pl.Int64, **dict.fromkeys(names, pl.Float64)})
    joined = shoppers.to_frame("shopper").join(frame, on="shopper", how="left", maintain_order="left")
    return [joined[name].fill_null(0.0).to_numpy() for name in names]


def _keys(shoppers: QuerySet[Shopper]) -> "np.ndarray":
    import polars as pl

    from recommender.bulk import read_frame

    return read_frame(shoppers.order_by().values_list("pk"), {"shopper": pl.Int64})["shopper"].to_numpy()


def _find_products(coupons: Iterable[Coupon]) -> QuerySet[Product] | None:
    """What any of some coupons is for; None if one of them is for the whole shop."""
    keys = [coupon.pk for coupon in coupons]
    targets = CouponTarget.objects.filter(coupon__in=keys)
    if targets.values("coupon").distinct().count() < len(keys):
        return None
    found = Q(pk__in=targets.filter(product__isnull=False).values("product"))
    found |= Q(brand__in=targets.exclude(brand="").values("brand"))
    for path in targets.filter(category__isnull=False).values_list("category__path", flat=True).distinct():
        found |= Q(category__path=path) | Q(category__path__startswith=f"{path}{CATEGORY_SEPARATOR}")
    return Product.objects.filter(found)
