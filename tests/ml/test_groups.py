"""How groups fill and whom they draw, learned from made-up groups; and that nothing later is known of either."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import polars as pl
import pytest

from recommender.ml.group_learning import FEWEST_GROUPS, FEWEST_LOOKS, Learned, Look, PastGroup, Purchases, learn
from recommender.ml.group_model import (
    NOTHING_LEARNED,
    CouponPast,
    GroupModel,
    GroupState,
    Logistic,
    Tie,
    describe_chance,
    describe_joining,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MOMENT = START + 2_000 * HOUR
GROUP = GroupState(size=4, joined=2, hours_open=5.0, hours_left=20.0, companions=3)
POPULAR, RARE = 1, 2
#: Shoppers of even numbers know each other, buy product 10, and look at coupons beside all others.
FRIENDS, STRANGERS = range(0, 20, 2), range(1, 60, 2)


def make_groups(count: int = 400, seed: int = 0) -> tuple[list[PastGroup], list[Look]]:
    """Groups for three: friends join those of friends, and what is popular fills thrice as often."""
    random = Random(seed)
    groups, looks = [], []
    for number in range(count):
        opened = START + number * 4 * HOUR
        coupon, first = random.choice([POPULAR, RARE]), random.choice(FRIENDS)
        members = [(first, opened)]
        for _look in range(8):
            who = random.choice([*FRIENDS, *STRANGERS])
            at = opened + random.random() * 24 * HOUR
            if any(who == other for other, _at in members):
                continue
            looks.append((at, who, coupon))
        for at, who, _coupon in sorted(looks[-8:]):
            likely = (0.6 if who in FRIENDS else 0.1) * (1.0 if coupon == POPULAR else 0.3)
            known = {other for other, _at in members}
            if at > members[-1][1] and who not in known and len(members) < 3 and random.random() < likely:
                members.append((who, at))
        filled = len(members) == 3
        closes = opened + 24 * HOUR
        groups.append(PastGroup(coupon, 3, opened, closes, members[-1][1] if filled else closes, filled, members))
    return groups, [Look(who, coupon, at) for at, who, coupon in looks]


def make_purchases() -> Purchases:
    rows = [
        (shopper, 10 if shopper in FRIENDS else 11, 5, START + (24 * day - 100 * 24) * HOUR)
        for shopper in (*FRIENDS, *STRANGERS)
        for day in range(0, 150, 30)
    ]
    lines = pl.DataFrame(rows, schema=["shopper", "product", "category", "at"], orient="row")
    return Purchases(lines.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC"))), {POPULAR: frozenset({10})})


@pytest.fixture(scope="module")
def learned() -> Learned:
    groups, looks = make_groups()
    return learn(groups, make_purchases(), looks, moment=MOMENT)


def chance_of(model: GroupModel, group: GroupState, coupon: int = POPULAR) -> float:
    chance, basis = model.chance_of(group, coupon)
    assert basis == "model"
    assert chance is not None
    return chance


def test_chances_follow_what_fills_groups(learned: Learned) -> None:
    model = learned.model
    begun = GroupState(size=3, joined=1, hours_open=0.1, hours_left=23.9, companions=5)
    likely = chance_of(model, begun)
    assert chance_of(model, replace(begun, joined=2)) > likely
    assert chance_of(model, replace(begun, hours_left=1.0, hours_open=23.0)) < likely / 2
    assert chance_of(model, begun, RARE) < likely / 2
    assert model.chance_of(replace(begun, joined=3), POPULAR) == (1.0, "full")


def test_the_check_is_of_later_groups_and_counts_each_once(learned: Learned) -> None:
    check = learned.model.check
    assert check is not None
    assert check.passed
    assert check.log_loss < check.base_log_loss
    assert check.brier < check.base_brier
    assert sum(each.count for each in check.bins) == check.checked_on < check.learned_from
    assert [each.predicted for each in check.bins] == sorted(each.predicted for each in check.bins)
    assert check.error < 0.1


def test_what_does_no_better_than_the_base_rate_is_not_told() -> None:
    """Groups whose end has nothing to do with what is known of them while they are open."""
    random = Random(3)
    groups = []
    for number in range(400):
        opened = START + number * 4 * HOUR
        filled, closes = random.random() < 0.5, opened + 24 * HOUR
        members = [(number % 50, opened)]
        members += [(50 + number % 7, closes - HOUR), (60 + number % 7, closes - HOUR)] if filled else []
        groups.append(PastGroup(POPULAR, 3, opened, closes, closes - HOUR if filled else closes, filled, members))
    model = learn(groups, make_purchases(), moment=MOMENT).model
    assert model.check is not None
    assert not model.check.passed
    chance, basis = model.chance_of(GROUP, POPULAR)
    assert basis == "base_rate"
    assert chance == pytest.approx(0.5, abs=0.1)


def test_a_shop_that_begins_says_that_it_does_not_know() -> None:
    assert NOTHING_LEARNED.chance_of(GROUP, POPULAR) == (None, "unknown")
    groups, looks = make_groups(FEWEST_GROUPS - 1)
    model = learn(groups, make_purchases(), looks, moment=MOMENT).model
    assert (model.chance, model.joining, model.check) == (None, None, None)
    filled = sum(group.filled for group in groups)
    size = replace(GROUP, size=3)
    assert model.chance_of(size, RARE) == (pytest.approx(filled / len(groups), abs=0.01), "base_rate")
    # Until then whoever joined groups with members, and whoever buys it, comes first.
    assert model.attraction(GROUP, Tie(together=1), RARE) > model.attraction(GROUP, Tie(), RARE)
    assert model.attraction(GROUP, Tie(bought=1), RARE) > model.attraction(GROUP, Tie(), RARE)
    assert learn([], make_purchases(), moment=MOMENT).model.overall == CouponPast()


@pytest.mark.parametrize("with_looks", [True, False])
def test_friends_are_drawn_more_than_strangers(with_looks: bool) -> None:
    groups, looks = make_groups()
    assert len(looks) > FEWEST_LOOKS
    model = learn(groups, make_purchases(), looks if with_looks else [], moment=MOMENT).model
    friend = Tie(together=6, closeness=0.3, alike=1.0, bought=5, bought_kind=5, bought_at_all=5, joined_before=40)
    stranger = Tie(bought_kind=5, bought_at_all=5, joined_before=4)
    # Without looks the same is seen, and less of it: who joins and who gets to know of a group are one.
    times = 2 if with_looks else 1
    assert model.attraction(GROUP, friend, POPULAR) > times * model.attraction(GROUP, stranger, POPULAR)


def test_companions_are_who_joined_groups_together_and_who_buys_alike(learned: Learned) -> None:
    groups, _looks = make_groups()
    together = {(row["shopper"], row["companion"]): row["groups_together"] for row in learned.companions.to_dicts()}
    one, other = FRIENDS[0], FRIENDS[1]
    both = [group for group in groups if {one, other} <= {who for who, _at in group.members}]
    assert together[one, other] == together[other, one] == len(both) > 0
    own = [sum(who in {member for member, _at in group.members} for group in groups) for who in (one, other)]
    row = learned.companions.row(by_predicate=(pl.col("shopper") == one) & (pl.col("companion") == other), named=True)
    assert row["closeness"] == pytest.approx(len(both) / (own[0] * own[1]) ** 0.5)
    assert row["alike"] == pytest.approx(1.0)
    assert not learned.companions.select((pl.col("shopper") == pl.col("companion")).any()).item()
    assert learned.companions["alike"].is_between(0, 1).all()
    assert learned.companions.rows() == sorted(learned.companions.rows())


def test_nothing_later_is_known() -> None:
    """What is dated at or after the moment may be anything."""
    groups, looks = make_groups()
    moment = groups[300].opened_at + HOUR
    purchases = make_purchases()

    def later(group: PastGroup) -> PastGroup:
        members = [(who, at) if at < moment else (99, at + HOUR) for who, at in group.members]
        ended = group.ended_at if group.ended_at is not None and group.ended_at < moment else None
        return replace(group, members=members, ended_at=ended, filled=group.filled if ended else not group.filled)

    planted = pl.DataFrame([(99, 10, 5, moment)], schema=purchases.lines.schema, orient="row")
    other = Purchases(pl.concat([purchases.lines, planted]), purchases.targets)
    changed = [later(group) for group in groups if group.opened_at < moment]
    one = learn(groups, purchases, looks, moment=moment)
    two = learn(changed, other, [look for look in looks if look.at < moment], moment=moment)
    assert one.model == two.model
    assert one.companions.equals(two.companions)


def test_what_is_kept_reads_as_it_was_learned(learned: Learned) -> None:
    again = GroupModel.from_json(json.loads(json.dumps(learned.model.as_json())))
    assert again == learned.model
    assert GroupModel.from_json(json.loads(json.dumps(NOTHING_LEARNED.as_json()))) == NOTHING_LEARNED


def test_the_order_in_which_groups_come_makes_no_difference(learned: Learned) -> None:
    groups, looks = make_groups()
    again = learn(groups[::-1], make_purchases(), looks[::-1], moment=MOMENT)
    assert again.model.by_coupon == learned.model.by_coupon
    assert again.companions.equals(learned.companions)


def test_facts_are_finite_whatever_the_group() -> None:
    nothing = CouponPast()
    for group in (GroupState(2, 1, 0.0, 0.0, 0), GroupState(50, 49, 1e4, 1e4, 50)):
        described: Sequence[float] = [
            *describe_chance(group, nothing, nothing),
            *describe_joining(group, Tie(), nothing, nothing),
        ]
        assert all(abs(fact) < 100 for fact in described)
    steep = Logistic(("x",), (0.0,), (1.0,), (1e6,), 0.0)
    assert (steep.probability([1.0]), steep.probability([-1.0])) == (pytest.approx(1), pytest.approx(0))


def test_rates_of_few_groups_are_drawn_to_the_overall_one() -> None:
    overall = CouponPast(ended=98, filled=24, joins=100, hours=1_000.0)
    assert CouponPast().rate(overall) == pytest.approx(0.25)
    assert CouponPast(10, 10, 20, 50.0).rate(overall) == pytest.approx((10 + 2.5) / 20)
    assert CouponPast().pace(overall) == pytest.approx(101 / 1_024)
    assert CouponPast(50, 50, 500, 500.0).pace(overall) == pytest.approx(0.9, abs=0.2)
