"""A made-up shop of group buying whose truth is known. ``docs/presets/group_buying.md`` tells its story.

Shoppers belong to circles of friends, who like much the same. A coupon is for groups: somebody begins one and shares
its link with the circle, of whom some look and some of these join; strangers come by and some join too, the likelier
the more they like the thing and when a single place is left. A group that is full in time unlocks the coupon for its
members, most of whom use it within days. One that is not lets everybody go.

Each group is lived through by itself, all of them in the order in which they begin. Everything follows from the seed.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from math import exp
from pathlib import Path
from uuid import UUID

import numpy as np
import polars as pl
from scipy.special import expit

from recommender.models import CATEGORY_SEPARATOR
from recommender.presets import StartedGroup
from recommender.presets.made_up import LIVE_CAMPAIGN, MadeUpShop, identifiers, truth_of
from recommender.progress import Progress

WEEKS = 36  # of history
#: A campaign begins every so many weeks; groups begin as long, and the last of them may fill until it ends.
CAMPAIGN_WEEKS, TAIL = 4, timedelta(days=7)
PAST_CAMPAIGNS = 6
TREATED_SHARE = 0.6

KINDS = (
    *("Fruit", "Rice and flour", "Snacks", "Tea", "Detergents", "Paper goods"),
    *("Kitchenware", "Bedding", "Toys", "Skin care", "Pet food", "Phone cases"),
)
PRODUCTS_OF_A_KIND = 4
#: How many must join, how many hours they have, and how many of a hundred coupons are of each sort.
SIZES, SIZE_SHARES = (2, 3, 4, 5), (0.15, 0.35, 0.3, 0.2)
HOURS, HOURS_SHARES = (24, 48, 96, 168), (0.25, 0.3, 0.25, 0.2)

CIRCLE_SIZES = (3, 8)
ALONE_SHARE, IN_TWO_SHARE = 0.15, 0.15
#: The spread of what circles like, of what members like beside that, and of how much shoppers begin, join and buy.
OF_CIRCLE, OWN_LIKING, OUTGOING, JOINING, BUYING = 1.4, 0.6, 0.6, 0.5, 0.4
BOUGHT_A_WEEK = 0.012
#: Groups that a shopper who was sent a campaign begins in it on the mean; a discount of ten percent more counts so.
BEGUN, OF_DISCOUNT = 2.2, 0.3
#: The share of the circle that looks at the link, and the hours until they do; the log-odds that somebody who looks
#: joins: a stranger's, more for a friend of who is in it, more where a single place is left.
LOOKS, HOURS_TO_LOOK = 0.6, 12.0
STRANGER, FRIEND, LAST_PLACE = -3.3, 1.6, 0.7
#: Strangers who look at a group in an hour of the day, by the hour.
PASSERS_BY = 0.18 * np.concatenate([np.full(7, 0.2), np.linspace(0.4, 1.2, 12), np.full(4, 1.9), [0.8]])
USES, HOURS_TO_USE = 0.88, 60.0
HOUR = timedelta(hours=1)


class GroupBuyingShop(MadeUpShop):
    """A shop of which it is known who belongs together, and how groups live."""

    weeks = WEEKS

    def tables(self, progress: Progress = Progress()) -> dict[str, pl.DataFrame]:
        return self._world.tables() | self._history(progress).tables()

    def open_groups(self, progress: Progress = Progress()) -> list[StartedGroup]:
        """The groups that are open when history ends, in the order in which they began."""
        names, coupon_ids = identifiers("S", np.arange(self.shoppers)), identifiers("C", np.arange(self._world.coupons))
        return [
            StartedGroup(
                coupon_id=coupon_ids[group.coupon],
                members=tuple(
                    (names[who], self.starts_at(0) + hour * HOUR)
                    for who, hour in zip(group.members, group.hours, strict=True)
                ),
            )
            for group in self._history(progress).open
        ]

    def true_probabilities(self, lives: int = 200) -> pl.DataFrame:
        """See :meth:`MadeUpShop.true_probabilities`; ``may_have`` is true of all.

        The campaign is lived through again and again; the share of lives in which a coupon is used is off by
        √(p (1 - p) / lives) or less.
        """
        world = self._world
        used = np.zeros((self.shoppers, world.coupons))
        everybody = np.arange(self.shoppers)
        for life in range(lives):
            random = np.random.default_rng([self.seed, 2, life])
            campaign = world.live_campaign(everybody, WEEKS * 168.0, random)
            unlocked = np.zeros_like(used)
            for group in campaign:
                if group.filled:
                    unlocked[group.members, group.coupon] += 1
            used += 1 - (1 - USES) ** unlocked
        return truth_of(used / lives)

    def true_chances_of_groups(self, lives: int = 200) -> pl.DataFrame:
        """Of each open group and each shopper who is not in it: ``group`` (its place in :meth:`open_groups`),
        ``shopper_id``, ``joins`` (the chance that the shopper joins when shown the group), ``fills`` (that it fills in
        time once they did), ``value`` (that both happen) and ``fills_without`` (that it fills if nobody is shown it).
        """
        world, history = self._world, self._history(Progress())
        frames = []
        for number, group in enumerate(history.open):
            now = WEEKS * 168.0
            outside = np.setdiff1d(np.arange(self.shoppers), group.members)
            joins = world.joins(outside, group.coupon, group.members, world.size[group.coupon] - len(group.members))
            random = np.random.default_rng([self.seed, 3, number])
            fills_without = world.fill_rate(group, now, lives, random, joining=None)
            of_stranger = world.fill_rate(group, now, lives, random, joining=-1)
            fills = np.full(len(outside), of_stranger)
            for friend in np.flatnonzero(np.isin(outside, list(world.friends[group.members[0]]))):
                fills[friend] = world.fill_rate(group, now, lives, random, joining=int(outside[friend]))
            frames.append(
                pl.DataFrame(
                    {
                        "group": np.full(len(outside), number),
                        "shopper_id": identifiers("S", outside),
                        "joins": joins,
                        "fills": fills,
                        "value": joins * fills,
                        "fills_without": np.full(len(outside), fills_without),
                    }
                )
            )
        return pl.concat(frames)

    @cached_property
    def _world(self) -> "_World":
        return _World(self, np.random.default_rng([self.seed, 0]))

    def _history(self, progress: Progress) -> "_History":
        history = _History(self, self._world)
        for number in range(PAST_CAMPAIGNS):
            progress.report("Living through the campaigns", number, PAST_CAMPAIGNS)
            history.live(number)
        return history


#: The weeks in which the past campaigns began.
PAST_STARTS = tuple(WEEKS - CAMPAIGN_WEEKS * number for number in range(PAST_CAMPAIGNS, 0, -1))


def write_export(
    *, folder: Path, shift_to: date | None, shoppers: int, seed: int, progress: Progress
) -> Mapping[str, int]:
    """Write the export; see :meth:`recommender.presets.Preset.write_export`."""
    rows = GroupBuyingShop.ending_with(shift_to, shoppers=shoppers, seed=seed).write(folder, progress)
    return {"groups that ended": rows["groups"], "who joined them": rows["group_members"]}


def open_groups(*, shift_to: date | None, shoppers: int, seed: int) -> list[StartedGroup]:
    """The groups that are open when history ends; see :meth:`recommender.presets.Preset.open_groups`."""
    return GroupBuyingShop.ending_with(shift_to, shoppers=shoppers, seed=seed).open_groups()


@dataclass
class _Group:
    """A group as it was lived through. Hours count from the beginning of history; the first member began it."""

    coupon: int
    members: list[int]
    hours: list[float]
    closes: float
    filled: bool = False
    looks: list[tuple[float, int]] = field(default_factory=list)

    @property
    def opened(self) -> float:
        return self.hours[0]

    @property
    def ended(self) -> float:
        return self.hours[-1] if self.filled else self.closes


class _World:
    """What is on sale, who is who, and how a group lives.

    Attributes:
        size, window, discounts: of each coupon, of which there is one for each product.
        friends: of each shopper, all of their circles.
        pull: (shoppers, coupons), by how much somebody likes what a coupon is for and how much is off, in log-odds.
        log_odds: (shoppers, coupons), of joining a group of strangers that one looks at.
    """

    def __init__(self, shop: GroupBuyingShop, random: np.random.Generator) -> None:
        self._shop = shop
        self.coupons = len(KINDS) * PRODUCTS_OF_A_KIND
        self.kinds = np.repeat(np.arange(len(KINDS)), PRODUCTS_OF_A_KIND)
        self.prices = random.lognormal(2.5, 0.5, self.coupons).round(2)
        self.discounts = random.choice([20.0, 30.0, 40.0, 50.0], self.coupons)
        self.size = random.choice(SIZES, self.coupons, p=SIZE_SHARES)
        self.window = random.choice(HOURS, self.coupons, p=HOURS_SHARES)
        self.appeal = random.normal(0, 0.25, self.coupons)  # of a product, to everybody
        circles = list(self._draw_circles(random))
        self.friends: list[set[int]] = [set() for _shopper in range(shop.shoppers)]
        likes = random.normal(0, OWN_LIKING, (shop.shoppers, len(KINDS)))
        circles_of = np.zeros(shop.shoppers)
        shared = np.zeros_like(likes)
        for circle in circles:
            shared[circle] += random.normal(0, OF_CIRCLE, len(KINDS))
            circles_of[circle] += 1
            for member in circle:
                self.friends[member] |= set(circle) - {member}
        alone = circles_of == 0
        shared[alone] = random.normal(0, OF_CIRCLE, (int(alone.sum()), len(KINDS)))
        self.likes = likes + shared / np.sqrt(np.maximum(circles_of, 1))[:, None]
        self.liking = self.likes[:, self.kinds] + self.appeal
        self.pull = self.liking + OF_DISCOUNT * (self.discounts - 35) / 10
        self.outgoing = random.normal(0, OUTGOING, shop.shoppers)
        self.joining = random.normal(0, JOINING, shop.shoppers)
        self.buying = random.normal(0, BUYING, shop.shoppers)
        begins = np.exp(self.pull + self.outgoing[:, None])
        self.begun = BEGUN * begins / begins.sum(axis=1).mean()
        self.log_odds = STRANGER + self.pull + self.joining[:, None]
        self._busiest = PASSERS_BY.max()

    def _draw_circles(self, random: np.random.Generator) -> Iterator[list[int]]:
        count = self._shop.shoppers
        order = random.permutation(count)
        among = order[int(ALONE_SHARE * count) :]
        twice = random.choice(among, int(IN_TWO_SHARE * count), replace=False) if len(among) else among
        places = random.permutation(np.concatenate([among, twice]))
        begin = 0
        while begin < len(places):
            end = begin + int(random.integers(CIRCLE_SIZES[0], CIRCLE_SIZES[1] + 1))
            circle = sorted(set(places[begin:end].tolist()))
            begin = end
            if len(circle) > 1:
                yield circle

    def joins(self, shoppers: np.ndarray, coupon: int, members: Sequence[int], places: int) -> np.ndarray:
        """How likely each shopper joins a group that they look at."""
        friends = np.array([not self.friends[shopper].isdisjoint(members) for shopper in shoppers], dtype=float)
        return expit(self.log_odds[shoppers, coupon] + FRIEND * friends + LAST_PLACE * (places == 1))

    def live_campaign(
        self, sent: np.ndarray, begins: float, random: np.random.Generator, *, with_looks: bool = False
    ) -> list[_Group]:
        """The groups of a campaign that begins at an hour, in the order in which they began."""
        counts = random.poisson(self.begun[sent])
        row, coupon = np.nonzero(counts)
        times = counts[row, coupon]
        starters, coupons = np.repeat(sent[row], times), np.repeat(coupon, times)
        hours = begins + np.sort(random.random(len(starters))) * CAMPAIGN_WEEKS * 168
        order = random.permutation(len(starters))
        groups: list[_Group] = []
        busy: dict[tuple[int, int], float] = {}  # until when a shopper waits in a group for a coupon
        for starter, of, hour in zip(starters[order].tolist(), coupons[order].tolist(), hours.tolist(), strict=True):
            if busy.get((starter, of), -1.0) >= hour:
                continue
            group = _Group(of, [starter], [hour], hour + float(self.window[of]))
            friends = self._friends_to_come(group, random)
            self._fill(group, hour, friends, random, busy, looks=group.looks if with_looks else None)
            for member in group.members:
                busy[member, of] = group.ended
            groups.append(group)
        return groups

    def _friends_to_come(
        self, group: _Group, random: np.random.Generator, *, since: float = 0.0
    ) -> list[tuple[float, int]]:
        """When those of the circle who look do so; of those who did not until ``since``, in hours since it began."""
        looked = {who for _hour, who in group.looks}
        friends = sorted(self.friends[group.members[0]] - set(group.members) - looked)
        # Whoever did not look until now looks later with what is left of the chance.
        left = LOOKS * np.exp(-since / HOURS_TO_LOOK)
        chance = left / (1 - LOOKS + left)
        looks = random.random(len(friends)) < chance
        after = since + random.exponential(HOURS_TO_LOOK, len(friends))
        return [
            (group.opened + float(hour), friend)
            for friend, look, hour in zip(friends, looks, after, strict=True)
            if look
        ]

    def _fill(
        self,
        group: _Group,
        now: float,
        friends: list[tuple[float, int]],
        random: np.random.Generator,
        busy: Mapping[tuple[int, int], float],
        *,
        looks: list[tuple[float, int]] | None = None,
    ) -> None:
        """Live through what is left of a group; ``looks`` takes who looks at it and when."""
        of, size = group.coupon, int(self.size[group.coupon])
        count = random.poisson(self._busiest * max(0.0, group.closes - now))
        when = now + random.random(count) * (group.closes - now)
        passes = random.random(count) < PASSERS_BY[when.astype(int) % 24] / self._busiest
        when, who = when[passes], random.integers(0, self._shop.shoppers, int(passes.sum()))
        draw = random.random(len(who))
        if looks is not None:
            looks += zip(when.tolist(), who.tolist(), strict=True)
            looks += friends
        could = draw < expit(self.log_odds[who, of] + LAST_PLACE)  # the others join in no case
        coming = [(hour, friend, random.random(), FRIEND) for hour, friend in friends]
        coming += zip(when[could].tolist(), who[could].tolist(), draw[could].tolist(), [0.0] * len(who), strict=False)
        for hour, shopper, drawn, tie in sorted(coming):
            if hour >= group.closes or len(group.members) >= size:
                break
            if shopper in group.members or busy.get((shopper, of), -1.0) >= hour:
                continue
            log_odds = self.log_odds[shopper, of] + tie + LAST_PLACE * (size - len(group.members) == 1)
            if drawn * (1 + exp(-log_odds)) < 1:
                group.members.append(shopper)
                group.hours.append(hour)
        group.filled = len(group.members) >= size

    def fill_rate(
        self, group: _Group, now: float, lives: int, random: np.random.Generator, *, joining: int | None
    ) -> float:
        """The share of lives in which an open group fills in time from ``now`` on.

        Args:
            joining: who joins it now, or -1 for somebody of no circle of it; None if nobody does.
        """
        members, hours = list(group.members), list(group.hours)
        if joining is not None:
            members, hours = [*members, joining], [*hours, now]
        if len(members) >= self.size[group.coupon]:
            return 1.0
        filled = 0
        for _life in range(lives):
            again = _Group(group.coupon, list(members), list(hours), group.closes, looks=group.looks)
            friends = self._friends_to_come(again, random, since=now - group.opened)
            self._fill(again, now, friends, random, {})
            filled += again.filled
        return filled / lives

    def tables(self) -> dict[str, pl.DataFrame]:
        shop = self._shop
        numbers = np.arange(self.coupons)
        coupon_ids, product_ids = identifiers("C", numbers), identifiers("P", numbers)
        names = [f"{KINDS[kind]} {number % PRODUCTS_OF_A_KIND + 1}" for number, kind in enumerate(self.kinds)]
        campaigns = [LIVE_CAMPAIGN, *(_past_name(week) for week in PAST_STARTS)]
        starts = [shop.until, *(shop.starts_at(week) for week in PAST_STARTS)]
        return {
            "products": pl.DataFrame(
                {
                    "product_id": product_ids,
                    "name": names,
                    "category": [f"Market{CATEGORY_SEPARATOR}{KINDS[kind]}" for kind in self.kinds],
                    "price": self.prices,
                }
            ),
            "coupons": pl.DataFrame(
                {
                    "coupon_id": coupon_ids,
                    "offer_id": identifiers("O", numbers),
                    "title": [f"{name}, together" for name in names],
                    "discount_type": "percent",
                    "discount_value": self.discounts,
                    "group_size": self.size,
                    "group_hours": self.window,
                }
            ),
            "coupon_products": pl.DataFrame({"coupon_id": coupon_ids, "product_id": product_ids}),
            "campaigns": pl.DataFrame(
                {
                    "campaign_id": campaigns,
                    "name": [name.capitalize().replace("-", " ") for name in campaigns],
                    "kind": "group buying",
                    "starts_at": starts,
                    "ends_at": [start + timedelta(weeks=CAMPAIGN_WEEKS) + TAIL for start in starts],
                }
            ),
            "campaign_coupons": pl.DataFrame(
                {
                    "campaign_id": np.repeat(campaigns, self.coupons).tolist(),
                    "coupon_id": coupon_ids * len(campaigns),
                }
            ),
        }


class _History:
    """What was bought and which groups were begun, until history ends.

    Attributes:
        open: the groups that are open then.
    """

    def __init__(self, shop: GroupBuyingShop, world: _World) -> None:
        self._shop, self._world = shop, world
        self._random = np.random.default_rng([shop.seed, 1])
        self._sent: dict[int, np.ndarray] = {}
        self._ended: list[_Group] = []
        self.open: list[_Group] = []
        self._looks: list[tuple[float, int, int]] = []  # hour, shopper, coupon
        #: Shopper, product, hour and, for what was bought with a coupon, the week of its campaign, else -1.
        self._bought: list[np.ndarray] = [self._buy_without()]

    def _buy_without(self) -> np.ndarray:
        """What is bought without coupons in all of history; of a week all at once."""
        random, world = self._random, self._world
        likely = BOUGHT_A_WEEK * np.exp(world.liking + world.buying[:, None])
        counts = random.poisson(likely * WEEKS)
        shopper, product = np.nonzero(counts)
        times = counts[shopper, product]
        shopper, product = np.repeat(shopper, times), np.repeat(product, times)
        week = random.integers(0, WEEKS, len(shopper))
        # A basket a week, at an hour of the shopper's own in that week.
        hour_in_week = np.random.default_rng([self._shop.seed, 4]).random((self._shop.shoppers, WEEKS)) * 167
        hour = week * 168 + hour_in_week[shopper, week]
        return np.stack([shopper, product, hour, np.full(len(shopper), -1.0)], axis=1)

    def live(self, number: int) -> None:
        """Live through a campaign, until history ends."""
        world, random = self._world, self._random
        week, now = PAST_STARTS[number], WEEKS * 168.0
        sent = np.flatnonzero(random.random(self._shop.shoppers) < TREATED_SHARE)
        self._sent[week] = sent
        used = []
        for group in world.live_campaign(sent, week * 168.0, random, with_looks=True):
            self._looks += [(*look, group.coupon) for look in group.looks if look[0] <= group.ended and look[0] < now]
            uses = random.random(len(group.members)) < USES
            later = random.random(len(group.members)) * HOURS_TO_USE
            if group.ended < now:
                self._ended.append(group)
                if group.filled:
                    used += [
                        (member, group.coupon, group.ended + hour, week)
                        for member, use, hour in zip(group.members, uses, later, strict=True)
                        if use and group.ended + hour < now
                    ]
                continue
            so_far = bisect_left(group.hours, now)
            self.open.append(
                _Group(
                    group.coupon,
                    group.members[:so_far],
                    group.hours[:so_far],
                    group.closes,
                    looks=[look for look in group.looks if look[0] < now],
                )
            )
        self._bought.append(np.array(used, dtype=float).reshape(-1, 4))

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of the export that are about shoppers."""
        shop, world = self._shop, self._world
        names = pl.Series(identifiers("S", np.arange(shop.shoppers)))
        coupon_ids = pl.Series(identifiers("C", np.arange(world.coupons)))
        product_ids = pl.Series(identifiers("P", np.arange(world.coupons)))
        bought = np.concatenate(self._bought)
        lines = pl.DataFrame(
            {
                "shopper": bought[:, 0].astype(int),
                "product": bought[:, 1].astype(int),
                "ordered_at": self._moments(bought[:, 2]),
                "campaign": bought[:, 3].astype(int),
            }
        )
        orders = (
            lines.select("shopper", "ordered_at")
            .unique()
            .sort("ordered_at", "shopper", descending=True)
            .with_columns(pl.int_range(pl.len()).alias("order"))
        )
        orders = orders.with_columns(pl.Series("order_id", identifiers("A", orders["order"].to_numpy())))
        lines = lines.join(orders, on=["shopper", "ordered_at"]).sort("order_id", "product", "campaign")
        with_coupon = pl.col("campaign") >= 0
        price = pl.Series("price", world.prices[lines["product"].to_numpy()])
        off = pl.Series("off", (world.prices * world.discounts / 100).round(2)[lines["product"].to_numpy()])
        lines = lines.with_columns(
            price,
            pl.when(with_coupon).then(off).otherwise(0.0).alias("coupon_discount"),
            pl.when(with_coupon).then(pl.lit(coupon_ids.gather(lines["product"]))).alias("coupon_id"),
            names.gather(lines["shopper"]).alias("shopper_id"),
            product_ids.gather(lines["product"]).alias("product_id"),
        )
        groups = sorted(self._ended, key=lambda group: (group.opened, group.members[0]))
        group_ids = [str(UUID(int=(shop.seed % 2**32 << 64) + number + 1, version=4)) for number in range(len(groups))]
        members = [
            (group_id, member, hour)
            for group_id, group in zip(group_ids, groups, strict=True)
            for member, hour in zip(group.members, group.hours, strict=True)
        ]
        looks = sorted(self._looks)
        sent = [(LIVE_CAMPAIGN, shopper) for shopper in range(shop.shoppers)]
        sent += [(_past_name(week), shopper) for week, shoppers in self._sent.items() for shopper in shoppers.tolist()]
        return {
            "shoppers": pl.DataFrame({"shopper_id": names}),
            "orders": orders.sort("order_id").select(
                "order_id", names.gather(orders.sort("order_id")["shopper"]).alias("shopper_id"), "ordered_at"
            ),
            "order_lines": lines.select(
                "order_id",
                "product_id",
                pl.lit(1).alias("quantity"),
                (pl.col("price") - pl.col("coupon_discount")).round(2).alias("amount"),
                "coupon_discount",
                "coupon_id",
            ),
            "campaign_shoppers": pl.DataFrame(
                {
                    "campaign_id": [campaign for campaign, _shopper in sent],
                    "shopper_id": names.gather([shopper for _campaign, shopper in sent]),
                }
            ),
            "redemptions": lines.filter(with_coupon).select(
                "shopper_id",
                "coupon_id",
                pl.col("ordered_at").alias("redeemed_at"),
                pl.format("week-{}", "campaign").alias("campaign_id"),
                "order_id",
                pl.col("coupon_discount").alias("discount_amount"),
            ),
            "events": pl.DataFrame(
                {
                    "event_id": identifiers("L", np.arange(len(looks))),
                    "shopper_id": names.gather([shopper for _hour, shopper, _coupon in looks]),
                    "kind": "view",
                    "occurred_at": self._moments([hour for hour, _shopper, _coupon in looks]),
                    "coupon_id": coupon_ids.gather([coupon for _hour, _shopper, coupon in looks]),
                }
            ),
            "groups": pl.DataFrame(
                {
                    "group_id": group_ids,
                    "coupon_id": coupon_ids.gather([group.coupon for group in groups]),
                    "size": [int(world.size[group.coupon]) for group in groups],
                    "opened_at": self._moments([group.opened for group in groups]),
                    "closes_at": self._moments([group.closes for group in groups]),
                    "ended_at": self._moments([group.ended for group in groups]),
                }
            ),
            "group_members": pl.DataFrame(
                {
                    "group_id": [group_id for group_id, _member, _hour in members],
                    "shopper_id": names.gather([member for _group, member, _hour in members]),
                    "joined_at": self._moments([hour for _group, _member, hour in members]),
                }
            ),
        }

    def _moments(self, hours: Sequence[float] | np.ndarray) -> pl.Series:
        """Hours since history began as moments, to the second before."""
        seconds = pl.Series((np.asarray(hours, dtype=float) * 3_600).astype(np.int64))
        begins = pl.Series([self._shop.starts_at(0)], dtype=pl.Datetime("us", "UTC"))
        return begins.new_from_index(0, len(seconds)) + (seconds * 1_000_000).cast(pl.Duration("us"))


def _past_name(week: int) -> str:
    return f"week-{week}"
