"""The rules of docs/coupon-rules.md once more: slow, obvious, by fractions, and without the code that it checks."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import combinations, permutations, product
from math import floor

from recommender.rules.basket import Basket, BasketLine
from recommender.rules.offer import Offer, SaleEvent

Share = dict[str, int]  # whole smallest units by line; "" is the shipping


def units_of(amount: Decimal, basket: Basket) -> Fraction:
    return Fraction(amount) / Fraction(basket.unit)


def round_half_up(number: Fraction) -> int:
    return floor(number + Fraction(1, 2))


def cost_of(line: BasketLine, basket: Basket) -> int:
    return round_half_up(Fraction(line.quantity) * units_of(line.unit_price, basket))


def is_for(offer: Offer, line: BasketLine) -> bool:
    targets = offer.targets
    if not targets.products and not targets.categories and not targets.brands:
        return line.quantity > 0
    return line.quantity > 0 and (
        line.product_id in targets.products
        or any(category in targets.categories for category in line.category_ids)
        or (line.brand in targets.brands and line.brand != "")
    )


def share_out(total: int, weights: Share) -> Share:
    """Everybody the whole part of what is due, then one unit each to those who are due the most of one more."""
    whole = sum(weights.values())
    due = {line_id: Fraction(total * weight, whole) for line_id, weight in weights.items()}
    shares = {line_id: floor(fraction) for line_id, fraction in due.items()}
    while sum(shares.values()) < total:
        neediest = max(sorted(due), key=lambda line_id: due[line_id] - shares[line_id])
        shares[neediest] += 1
    return shares


def alone(offer: Offer, basket: Basket) -> Share | str:
    """What a coupon takes off by itself, or the code of why it does not."""
    lines = sorted((line for line in basket.lines if is_for(offer, line)), key=lambda line: line.line_id)
    costs = {line.line_id: cost_of(line, basket) for line in lines}
    if not lines:
        return "nothing_it_is_for"
    if offer.min_spend is not None and sum(costs.values()) < units_of(offer.min_spend, basket):
        return "minimum_spend_not_reached"
    bases, percent = costs, offer.discount_value
    if offer.discount_type == "buy_x_get_y":
        items = [line for line in lines for _item in range(floor(line.quantity))]
        if len(items) <= offer.buy_quantity:
            return "too_few_items"
        items.sort(key=lambda line: line.unit_price, reverse=True)
        got: dict[str, Fraction] = {line.line_id: Fraction(0) for line in lines}
        for number, line in enumerate(items):
            if number % (offer.buy_quantity + offer.get_quantity) >= offer.buy_quantity:
                got[line.line_id] += units_of(line.unit_price, basket)
        bases = {line_id: min(costs[line_id], round_half_up(price)) for line_id, price in got.items()}
        percent = Decimal(100) if percent is None else percent
    if offer.discount_type == "free_shipping":
        bases = {"": round_half_up(units_of(basket.shipping, basket))}
        total = bases[""]
    elif offer.discount_type == "amount":
        total = min(round_half_up(units_of(offer.discount_value, basket)), sum(bases.values()))
    else:
        total = round_half_up(sum(bases.values()) * Fraction(percent) / 100)
    if offer.max_discount is not None:
        total = min(total, floor(units_of(offer.max_discount, basket)))
    if total == 0:
        return "nothing_to_take_off"
    if offer.budget_left is not None and units_of(offer.budget_left, basket) < total:
        return "budget_used_up"
    if offer.campaign_budget_left is not None and units_of(offer.campaign_budget_left, basket) < total:
        return "campaign_budget_used_up"
    event = offer.sale_event
    if event is not None and event.left is not None and units_of(event.left, basket) < total:
        return "sale_event_budget_used_up" if event.more_at is None else "sale_event_hour_used_up"
    return share_out(total, bases)


def may_be_together(offers: Iterable[Offer], basket: Basket) -> bool:
    offers = list(offers)
    if len(offers) > 1 and not all(offer.stackable for offer in offers):
        return False
    if any(one.exclusion_group == other.exclusion_group != "" for one, other in combinations(offers, 2)):
        return False
    for one in offers:
        if one.campaign_id and one.campaign_budget_left is not None and len(offers) > 1:
            asked = sum(sum(alone(each, basket).values()) for each in offers if each.campaign_id == one.campaign_id)
            if asked > units_of(one.campaign_budget_left, basket):
                return False
    return len(offers) < 2 or all(keeps_event_rule(one.sale_event, offers, basket) for one in offers)


def keeps_event_rule(event: SaleEvent | None, offers: list[Offer], basket: Basket) -> bool:
    """Whether coupons may be used together beside those of an event, and what came of its budget pays for its own."""
    if event is None:
        return True
    own = [offer for offer in offers if offer.sale_event is not None and offer.sale_event.event_id == event.event_id]
    return (
        (event.most_coupons is None or len(own) <= event.most_coupons)
        and (event.most_others is None or len(offers) - len(own) <= event.most_others)
        and (
            event.left is None or sum(sum(alone(each, basket).values()) for each in own) <= units_of(event.left, basket)
        )
    )


def room_of(basket: Basket) -> Share:
    room = {line.line_id: cost_of(line, basket) for line in basket.lines}
    return room | {"": round_half_up(units_of(basket.shipping, basket))}


def most_together(offers: Iterable[Offer], basket: Basket) -> int:
    """The most that coupons take off together: of a line what they all want of it, but never more than it costs.

    An amount may be laid on any line that it is for. The most that can be laid is what its narrowest place lets
    through: for some of the amounts all the room of their lines, and the whole of the others.
    """
    shares = {offer: alone(offer, basket) for offer in offers}
    fixed, amounts = 0, []
    room = room_of(basket)
    for offer, share in shares.items():
        if offer.discount_type == "amount":
            amounts.append((sum(share.values()), {line.line_id for line in basket.lines if is_for(offer, line)}))
            continue
        for line_id, units in share.items():
            taken = min(units, room[line_id])
            room[line_id] -= taken
            fixed += taken
    cuts = (
        sum(amount for amount, _lines in amounts if (amount, _lines) not in chosen)
        + sum(room[line_id] for line_id in set().union(*(lines for _amount, lines in chosen)))
        for count in range(len(amounts) + 1)
        for chosen in combinations(amounts, count)
    )
    return fixed + min(cuts)


def most_in_any_order(offers: Iterable[Offer], basket: Basket) -> int:
    """What they take off when each takes what is left, an amount in proportion, in that order which gives the most."""

    def in_order(ordered: Iterable[Offer]) -> int:
        room, total = room_of(basket), 0
        for offer in ordered:
            share = alone(offer, basket)
            if offer.discount_type == "amount":
                weights = {line.line_id: room[line.line_id] for line in basket.lines if is_for(offer, line)}
                whole = min(sum(share.values()), sum(weights.values()))
                share = share_out(whole, weights) if whole else {}
            for line_id, units in share.items():
                taken = min(units, room[line_id])
                room[line_id] -= taken
                total += taken
        return total

    return max(in_order(ordered) for ordered in permutations(offers))


def most_by_any_laying(offers: Iterable[Offer], basket: Basket) -> int:
    """Likewise by trying every way to take whole units off lines. For very small baskets."""
    line_ids = [*(line.line_id for line in basket.lines), ""]
    room = room_of(basket)
    wants = []
    for offer in offers:
        share = alone(offer, basket)
        if offer.discount_type == "amount":
            open_to = [is_for(offer, line) for line in basket.lines] + [False]
            wants.append(
                (sum(share.values()), tuple(room[i] if free else 0 for i, free in zip(line_ids, open_to, strict=True)))
            )
        else:
            wants.append((sum(share.values()), tuple(share.get(line_id, 0) for line_id in line_ids)))

    @cache
    def most(number: int, left: tuple[int, ...]) -> int:
        if number == len(wants):
            return 0
        total, limits = wants[number]
        return max(
            sum(taken) + most(number + 1, tuple(have - take for have, take in zip(left, taken, strict=True)))
            for taken in product(*(range(min(have, limit) + 1) for have, limit in zip(left, limits, strict=True)))
            if sum(taken) <= total
        )

    return most(0, tuple(room[line_id] for line_id in line_ids))


def sets_of(offers: Iterable[Offer]) -> Iterator[tuple[Offer, ...]]:
    offers = list(offers)
    for count in range(1, len(offers) + 1):
        yield from combinations(offers, count)


def best_set(offers: Iterable[Offer], basket: Basket) -> tuple[set[str], int]:
    """The coupons that are applied, and what they take off, in whole smallest units."""
    usable = [offer for offer in offers if not isinstance(alone(offer, basket), str)]
    possible = [chosen for chosen in sets_of(usable) if may_be_together(chosen, basket)]

    def rank(chosen: tuple[Offer, ...]) -> tuple:
        # What ends never is later than what ends.
        ends = sorted(
            (offer.ends_at is None, offer.ends_at.timestamp() if offer.ends_at else 0, offer.coupon_id)
            for offer in chosen
        )
        return -most_together(chosen, basket), len(chosen), ends

    best = min(possible, key=rank, default=())
    return {offer.coupon_id for offer in best}, most_together(best, basket)
