"""How likely an open group fills in time, and how drawn a shopper is to join it.

Both are logistic in a few facts, which are described here in one place for whoever learns from past groups and for
whoever asks of an open one, and evaluated without a numeric library: a web process answers by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, log, log1p
from typing import Any, Literal, Self

#: Where a chance comes from: no place is left, so that it is certain; the model; the share of past groups that filled,
#: where the model knows nothing or did not do better on later groups than that share; or nowhere, where none ended yet.
Basis = Literal["full", "model", "base_rate", "unknown"]

#: What a rate over few groups is drawn to the overall rate by, in groups.
PRIOR_GROUPS = 10.0
SECONDS_AN_HOUR = 3_600.0
#: A logistic function of more than this is as good as 0 or 1.
FLAT = 35.0

CHANCE_FACTS = (
    "places_left",
    "share_joined",
    "hours_left",
    "hours_open",
    "pace",
    "companions",
    "demand",
    "past_rate",
)
JOINING_FACTS = (
    "joined_together",
    "closeness",
    "buys_alike",
    "buys_it",
    "buys_its_kind",
    "buys_at_all",
    "joined_before",
    "looked_before",
    "share_joined",
    "one_place_left",
    "past_pace",
)


@dataclass(frozen=True)
class GroupState:
    """An open group at a moment.

    Attributes:
        joined: members, whoever began it among them.
        companions: with how many others the member joined groups before who did so with the most.
    """

    size: int
    joined: int
    hours_open: float
    hours_left: float
    companions: int

    def with_one_more(self) -> "GroupState":
        return GroupState(self.size, self.joined + 1, self.hours_open, self.hours_left, self.companions)

    @property
    def places_left(self) -> int:
        return self.size - self.joined


@dataclass(frozen=True)
class CouponPast:
    """What became of a coupon's groups.

    Attributes:
        ended, filled: how many ended, and how many of them were filled.
        joins: of those who did not begin them.
        hours: how long they were open, together.
    """

    ended: int = 0
    filled: int = 0
    joins: int = 0
    hours: float = 0.0

    def __add__(self, other: "CouponPast") -> "CouponPast":
        return CouponPast(
            self.ended + other.ended, self.filled + other.filled, self.joins + other.joins, self.hours + other.hours
        )

    def rate(self, overall: "CouponPast") -> float:
        """The share that was filled, drawn to that of all groups, itself drawn to a half; strictly within (0, 1)."""
        of_all = (overall.filled + 1) / (overall.ended + 2)
        return (self.filled + PRIOR_GROUPS * of_all) / (self.ended + PRIOR_GROUPS)

    def pace(self, overall: "CouponPast") -> float:
        """Joins an hour, likewise; above 0."""
        of_all = (overall.joins + 1) / (overall.hours + 24)
        hours_of_prior = PRIOR_GROUPS * (overall.hours + 24) / (overall.ended + 1)
        return (self.joins + of_all * hours_of_prior) / (self.hours + hours_of_prior)


@dataclass(frozen=True)
class Tie:
    """What a shopper has to do with a group.

    Attributes:
        together: groups that the shopper joined before with members of it, counted for each member.
        closeness: of the member who is closest, groups joined together over the geometric mean of those that either
            joined, from 0 to 1.
        alike: how alike the baskets of the shopper and of the member who is most like them are, from 0 to 1.
        bought: purchases lately of what the coupon is for, ``bought_kind`` of the same categories and
            ``bought_at_all`` of anything.
        joined_before: groups of others that the shopper joined; ``looked_before`` is how often the shopper looked at
            what coupons for groups are about.
    """

    together: int = 0
    closeness: float = 0.0
    alike: float = 0.0
    bought: int = 0
    bought_kind: int = 0
    bought_at_all: int = 0
    joined_before: int = 0
    looked_before: int = 0


def describe_chance(group: GroupState, past: CouponPast, overall: CouponPast) -> list[float]:
    """The facts of :data:`CHANCE_FACTS`."""
    rate = past.rate(overall)
    expected = past.pace(overall) * group.hours_left
    return [
        log(group.places_left),
        group.joined / group.size,
        log1p(group.hours_left),
        log1p(group.hours_open),
        log1p(24 * (group.joined - 1) / (group.hours_open + 6)),
        log1p(group.companions),
        log((expected + 0.05) / group.places_left),
        log(rate / (1 - rate)),
    ]


def describe_joining(group: GroupState, tie: Tie, past: CouponPast, overall: CouponPast) -> list[float]:
    """The facts of :data:`JOINING_FACTS`."""
    return [
        log1p(tie.together),
        tie.closeness,
        tie.alike,
        log1p(tie.bought),
        log1p(tie.bought_kind),
        log1p(tie.bought_at_all),
        log1p(tie.joined_before),
        log1p(tie.looked_before),
        group.joined / group.size,
        float(group.places_left == 1),
        log(past.pace(overall)),
    ]


@dataclass(frozen=True)
class Logistic:
    """A logistic function of facts, each less its mean and over its spread."""

    facts: tuple[str, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def log_odds(self, described: Sequence[float]) -> float:
        parts = zip(described, self.means, self.spreads, self.weights, strict=True)
        return self.intercept + sum(weight * (value - mean) / spread for value, mean, spread, weight in parts)

    def probability(self, described: Sequence[float]) -> float:
        return 1 / (1 + exp(-max(-FLAT, min(FLAT, self.log_odds(described)))))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        return cls(
            **{name: tuple(content[name]) for name in ("facts", "means", "spreads", "weights")},
            intercept=float(content["intercept"]),
        )


@dataclass(frozen=True)
class Bin:
    """Later groups of about the same predicted chance: how many, the mean chance, and the share that filled."""

    count: int
    predicted: float
    filled: float


@dataclass(frozen=True)
class Check:
    """How well chances that were learned from earlier groups came true in later ones.

    Attributes:
        learned_from, checked_on: moments in the life of groups.
        log_loss, base_log_loss: mean, of the model and of the base rates; the smaller the better.
        brier, base_brier: mean squared error, likewise.
        error: the mean distance of a bin's chance from its share that filled, each moment counted once.
        passed: whether the model is better than the base rates, and may be used.
    """

    learned_from: int
    checked_on: int
    log_loss: float
    base_log_loss: float
    brier: float
    base_brier: float
    error: float
    bins: tuple[Bin, ...]
    passed: bool

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        return cls(**{**content, "bins": tuple(Bin(**each) for each in content["bins"])})


@dataclass(frozen=True)
class GroupModel:
    """What was learned from past groups.

    Attributes:
        overall: of all groups that ended; ``by_coupon`` by key of the coupon, ``by_size`` by members needed.
        chance: None where there were too few groups to learn from.
        joining: how drawn shoppers are, up to a factor that is the same for all; None likewise.
        check: None where there were too few groups to check on.
    """

    overall: CouponPast
    by_coupon: Mapping[int, CouponPast]
    by_size: Mapping[int, CouponPast]
    chance: Logistic | None = None
    joining: Logistic | None = None
    check: Check | None = None

    def chance_of(self, group: GroupState, coupon: int) -> tuple[float | None, Basis]:
        """The chance that a group fills in time, and what it rests on. One that is full did."""
        if group.places_left <= 0:
            return 1.0, "full"
        if self.chance is not None and self.check is not None and self.check.passed:
            described = describe_chance(group, self.by_coupon.get(coupon, CouponPast()), self.overall)
            return self.chance.probability(described), "model"
        if not self.overall.ended:
            return None, "unknown"
        return self.by_size.get(group.size, CouponPast()).rate(self.overall), "base_rate"

    def attraction(self, group: GroupState, tie: Tie, coupon: int) -> float:
        """How drawn a shopper is to join a group: odds, up to a factor that is the same for all shoppers and groups."""
        if self.joining is None:
            return (1 + tie.together) * (1 + tie.alike) * (1 + log1p(tie.bought + 0.5 * tie.bought_kind))
        past = self.by_coupon.get(coupon, CouponPast())
        log_odds = self.joining.log_odds(describe_joining(group, tie, past, self.overall))
        return exp(max(-FLAT, min(FLAT, log_odds)))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        def pasts(kept: Mapping[str, Mapping[str, Any]]) -> dict[int, CouponPast]:
            return {int(key): CouponPast(**past) for key, past in kept.items()}

        chance, joining, check = (content[name] for name in ("chance", "joining", "check"))
        return cls(
            overall=CouponPast(**content["overall"]),
            by_coupon=pasts(content["by_coupon"]),
            by_size=pasts(content["by_size"]),
            chance=chance and Logistic.from_json(chance),
            joining=joining and Logistic.from_json(joining),
            check=check and Check.from_json(check),
        )


NOTHING_LEARNED = GroupModel(CouponPast(), {}, {})
