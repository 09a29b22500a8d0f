"""What a campaign changed, as its results page tells it."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from recommender.admin.base import link_to
from recommender.admin.figures import count_of, decimal_of, money_of, percent_of
from recommender.admin.summed_up import Shown
from recommender.models import Shop
from recommender.services.incrementality import Change, Incrementality, Share

OUTCOMES: dict[str, str | Promise] = {
    "uses": gettext_lazy("Coupons used, of any campaign"),
    "purchases": gettext_lazy("Orders of what the coupons are for"),
    "revenue": gettext_lazy("Revenue"),
    "margin": gettext_lazy("Margin"),
}
MONEY = ("revenue", "margin")
VERDICTS: dict[str, str | Promise] = {
    "more": gettext_lazy("It brought more"),
    "less": gettext_lazy("It brought less"),
    "same": gettext_lazy("It changed little"),
    "not_enough": gettext_lazy("Not enough data yet"),
    "no_holdout": gettext_lazy("Nobody is held out here"),
}


def describe_change(shown: Shown[Incrementality]) -> dict[str, object]:
    """What the template shows of it."""
    found = shown.content
    if found is None or not found.held_out:
        return {"shown": shown, "held_out": False}
    shop = Shop.current()
    return {
        "shown": shown,
        "held_out": True,
        "measured": bool(found.whole),
        "warnings": _warn(found),
        "notes": _note(found),
        "rows": _tabulate(found.whole, shop, comparable=found.comparable),
        "coupons": [
            {"name": link_to(coupon), "rows": _tabulate(changes, shop, comparable=found.comparable)}
            for coupon, changes in found.by_coupon
        ],
        "segments": [
            {"name": part.name, "rows": _tabulate(part.changes, shop, comparable=found.comparable)}
            for part in found.by_segment
        ],
        "anyway": _describe_anyway(found, shop),
    }


def rows_of_change(found: Incrementality) -> Iterator[list[object]]:
    """The same figures as rows of a file. Whether they may be believed stands in each, as a row can be copied alone."""
    yield [
        *("part", "name", "outcome", "change", "low_95", "high_95", "of_shopper_sent", "of_shopper_held_out"),
        *("shoppers_sent", "shoppers_held_out", "verdict", "comparable", "is_over"),
    ]
    parts = [
        ("campaign", found.campaign.campaign_id, found.treated, found.held_out, found.whole),
        *(("coupon", coupon.coupon_id, found.treated, found.held_out, changes) for coupon, changes in found.by_coupon),
        *(("segment", part.name, part.treated, part.held_out, part.changes) for part in found.by_segment),
    ]
    for part, name, treated, held_out, changes in parts:
        for change in changes:
            means = [_digits(change.treated_mean, 6), _digits(change.held_out_mean, 6)]
            yield [
                *(part, name, change.outcome, *(_digits(each, 3) for each in (change.value, change.low, change.high))),
                *(*means, treated, held_out, change.verdict, found.comparable, found.is_over),
            ]
    for name, share in (("uses", found.anyway), ("discount", found.discount_anyway)):
        if share is not None:
            interval = [_digits(each, 3) for each in (share.value, share.low, share.high)]
            yield [
                *("anyway", f"{name} of {_digits(share.whole, 3)}", name, *interval, "", ""),
                *(found.treated, found.held_out, "", found.comparable, found.is_over),
            ]


def _digits(number: float | None, decimals: int) -> Decimal | str:
    # A number, as a text that begins with a minus would be taken for a formula and spoilt.
    return "" if number is None else Decimal(f"{round(number, decimals) + 0.0:.{decimals}f}")


def _warn(found: Incrementality) -> list[str]:
    """Why nothing below may be believed."""
    warnings = []
    if found.misplaced:
        warnings.append(
            ngettext(
                "%(count)s shopper is recorded in another group than the one that was drawn.",
                "%(count)s shoppers are recorded in another group than the one that was drawn.",
                found.misplaced,
            )
            % {"count": count_of(found.misplaced)}
        )
    elif found.sizes_mismatch and found.expected_share is not None:
        shoppers = found.treated + found.held_out
        warnings.append(
            _(
                "%(held_out)s of %(shoppers)s shoppers are held out, and %(percent)s were to be. By chance that "
                "happens less than once in 1,000 campaigns: shoppers were lost from one group only."
            )
            % {
                "held_out": count_of(found.held_out),
                "shoppers": count_of(shoppers),
                "percent": percent_of(found.expected_share, 1),
            }
        )
    if found.differed_before:
        warnings.append(
            _(
                "Already before the campaign, those whom it was sent to did not spend what those who are held out did. "
                "By chance that happens less than once in 1,000 campaigns."
            )
        )
    return warnings


def _note(found: Incrementality) -> list[str]:
    notes = []
    if not found.drawn:
        notes.append(_("The shop chose whom to hold out. What stands here is right only if that was left to chance."))
    if found.whole:
        notes.append(
            _("The campaign is over: all that was bought in its window counts.")
            if found.is_over
            else _(
                "The campaign is under way, or its last orders are not in yet. "
                "The intervals hold however often you look."
            )
        )
    return notes


def _tabulate(changes: Sequence[Change], shop: Shop, *, comparable: bool) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for change in changes:
        of_shopper = [
            "" if mean is None else _amount(change.outcome, mean, shop, decimals=2)
            for mean in (change.treated_mean, change.held_out_mean)
        ]
        rows.append(
            {
                "outcome": OUTCOMES[change.outcome],
                "value": "" if change.value is None else _amount(change.outcome, change.value, shop),
                "interval": _interval(
                    *("" if end is None else _amount(change.outcome, end, shop) for end in (change.low, change.high))
                ),
                "treated": of_shopper[0],
                "held_out": of_shopper[1],
                "verdict": VERDICTS[change.verdict] if comparable else _("Not to be believed"),
            }
        )
    return rows


def _describe_anyway(found: Incrementality, shop: Shop) -> str:
    """The uses and the money that went to people who would have bought anyway; empty where that is unknown."""
    uses, discount = found.anyway, found.discount_anyway
    if uses is None or discount is None or not uses.whole or uses.value is None or not found.comparable:
        return ""
    return _(
        "Of %(uses)s uses of its coupons, about %(anyway)s (95 %% interval %(interval)s) were in orders that would "
        "have been made without the campaign. They took off %(money)s (%(money_interval)s) of %(discount)s."
    ) % {
        "uses": count_of(round(uses.whole)),
        "anyway": count_of(round(uses.value)),
        "interval": _ends(uses, lambda end: count_of(round(end))),
        "money": money_of(discount.value or 0.0, shop.currency),
        "money_interval": _ends(discount, lambda end: money_of(end, shop.currency)),
        "discount": money_of(discount.whole, shop.currency),
    }


def _amount(outcome: str, number: float, shop: Shop, decimals: int = 0) -> str:
    return money_of(number, shop.currency) if outcome in MONEY else decimal_of(number + 0.0, decimals)


def _ends(share: Share, write: Callable[[float], str]) -> str:
    return "" if share.low is None or share.high is None else _interval(write(share.low), write(share.high))


def _interval(low: str, high: str) -> str:
    return _("%(low)s to %(high)s") % {"low": low, "high": high} if low and high else ""
