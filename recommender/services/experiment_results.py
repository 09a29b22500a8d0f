"""What came of an experiment: each arm beside the one that the campaign showed before, safe to look at every day.

The maths is in :mod:`recommender.ml.incrementality`, its assumptions in docs/experiments.md.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Count, F, FloatField, Max, Q, QuerySet, Sum
from django.utils import timezone

from recommender.models import (
    Event,
    Experiment,
    ExperimentArm,
    ExperimentExposure,
    Order,
    OrderLine,
    Redemption,
)
from recommender.services.incrementality import read_columns
from recommender.services.split import choose_arm

if TYPE_CHECKING:
    import numpy as np

#: Of the sizes of the arms: how often a sound experiment is warned about, however often it is looked at.
FALSE_ALARMS = 0.001
#: What no arm may surely bring less of than the default, and what no arm may surely bring more of.
MAY_NOT_FALL = ("revenue", "margin", "orders")
MAY_NOT_RISE = ("dismissals", "opt_outs")


@dataclass(frozen=True)
class Comparison:
    """An arm beside the default, of one thing.

    Attributes:
        outcome: ``revenue``, ``margin``, ``orders``, ``uses``, ``dismissals`` or ``opt_outs``.
        mean, default_mean: of a shopper who was served; None without any.
        value, low, high: the difference of a shopper, with an interval that holds at all looks; None where unknown.
        verdict: of :class:`recommender.ml.incrementality.Verdict`.
        decides: whether it is what the experiment is decided by.
        harms: whether the arm surely does what no arm may do.
    """

    outcome: str
    mean: float | None
    default_mean: float | None
    value: float | None
    low: float | None
    high: float | None
    verdict: str
    decides: bool
    harms: bool


@dataclass(frozen=True)
class ArmResult:
    """
    Attributes:
        shoppers: who were served by it.
        share: of the shoppers, that it was to have.
        comparisons: with the default; empty for that itself.
    """

    arm: ExperimentArm
    is_default: bool
    shoppers: int
    share: float
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def harms(self) -> bool:
        return any(comparison.harms for comparison in self.comparisons)

    @property
    def is_better(self) -> bool:
        """Whether it surely brings more of what decides."""
        return any(comparison.decides and comparison.verdict == "more" for comparison in self.comparisons)


@dataclass(frozen=True)
class ExperimentResults:
    """
    Attributes:
        until: what was bought before it counts; None where nothing is known since the start.
        share_seen: how much of the time that the experiment may take is over.
        size_p_value: of such sizes of the arms by chance, at all looks together.
        misplaced: shoppers who were served by another arm than their own.
    """

    experiment: Experiment
    until: datetime | None
    share_seen: float
    size_p_value: float
    misplaced: int
    arms: list[ArmResult]

    @property
    def comparable(self) -> bool:
        """Whether anything may be believed of what is said of the arms."""
        return self.size_p_value >= FALSE_ALARMS and not self.misplaced

    @property
    def alarms(self) -> bool:
        return not self.comparable or any(each.harms for each in self.arms)


def measure_experiment(*, experiment: Experiment, now: datetime | None = None) -> ExperimentResults:
    """Compare the arms of an experiment that was started, by all that the shoppers did since they were first served.

    Raises:
        ValueError: it was not started yet.
    """
    if experiment.started_at is None or experiment.split is None:
        raise ValueError(f"Experiment {experiment.pk} was not started.")
    return _Measurement(experiment, experiment.started_at, now or timezone.now()).measure()


class _Measurement:
    """The shoppers who were served as arrays, (shoppers,) each, and what is measured of them."""

    def __init__(self, experiment: Experiment, started_at: datetime, now: datetime) -> None:
        import polars as pl

        from recommender.bulk import read_frame

        self._experiment, self._since = experiment, started_at
        self._ends_at = experiment.campaign.ends_at
        known_until = Order.objects.filter(ordered_at__lt=now).aggregate(last=Max("ordered_at"))["last"]
        until = known_until and min(known_until + timedelta.resolution, self._ends_at, experiment.ended_at or now)
        self._until: datetime | None = until if until and until > started_at else None
        self._shoppers = read_frame(
            experiment.exposures.order_by().values_list("shopper_id", "shopper__shopper_id", "arm_id"),
            {"shopper": pl.Int64, "identifier": pl.String, "arm": pl.Int64},
        ).sort("shopper")

    def measure(self) -> ExperimentResults:
        from recommender.ml.incrementality import check_shares

        assert self._experiment.split is not None
        planned = self._experiment.split["arms"]
        arms = self._experiment.arms.in_bulk([each["arm"] for each in planned])
        untils = [0, *(each["until"] for each in planned)]
        found = [
            ArmResult(
                arm=arms[each["arm"]],
                is_default=each["arm"] == self._experiment.split["default"],
                shoppers=int((self._shoppers["arm"] == each["arm"]).sum()),
                share=(until - before) / 1000,
            )
            for each, before, until in zip(planned, untils, untils[1:], strict=False)
        ]
        share_seen = (self._until - self._since) / (self._ends_at - self._since) if self._until else 0.0
        return ExperimentResults(
            experiment=self._experiment,
            until=self._until,
            share_seen=share_seen,
            size_p_value=check_shares([each.shoppers for each in found], [each.share for each in found]),
            misplaced=self._count_misplaced(),
            arms=self._compare(found, share_seen) if self._until else found,
        )

    def _count_misplaced(self) -> int:
        assert self._experiment.split is not None
        split = self._experiment.split
        rows = self._shoppers.select("identifier", "arm").iter_rows()
        return sum(choose_arm(split, identifier).arm != arm for identifier, arm in rows)

    def _compare(self, arms: list[ArmResult], share_seen: float) -> list[ArmResult]:
        from dataclasses import replace

        outcomes, before = self._read_outcomes()
        served_by = self._shoppers["arm"].to_numpy()
        default = next(each for each in arms if each.is_default)
        challengers = len(arms) - 1
        guarded = [name for name in outcomes if name in MAY_NOT_FALL + MAY_NOT_RISE]
        told = []
        for each in arms:
            if each is default:
                told.append(each)
                continue
            chosen = (served_by == each.arm.pk) | (served_by == default.arm.pk)
            treated = served_by[chosen] == each.arm.pk
            comparisons = [
                self._judge(
                    name,
                    (treated, outcome[chosen], before[chosen]),
                    share_seen,
                    alpha=0.05 / challengers / (1 if name == self._experiment.outcome else len(guarded)),
                )
                for name, outcome in outcomes.items()
            ]
            told.append(replace(each, comparisons=comparisons))
        return told

    def _judge(
        self, name: str, rows: "tuple[np.ndarray, np.ndarray, np.ndarray]", share_seen: float, alpha: float
    ) -> Comparison:
        from recommender.ml.incrementality import Verdict, confidence_sequence, judge, measure_effect

        effect = measure_effect(*rows)
        interval = confidence_sequence(effect, share_seen, 1 - alpha)
        verdict = judge(effect, interval)
        decides = name == self._experiment.outcome
        harmful = {**dict.fromkeys(MAY_NOT_FALL, Verdict.LESS), **dict.fromkeys(MAY_NOT_RISE, Verdict.MORE)}
        low, high = interval or (None, None)
        return Comparison(
            outcome=name,
            mean=effect.treated_mean,
            default_mean=effect.held_out_mean,
            value=effect.value,
            low=low,
            high=high,
            verdict=verdict.value,
            decides=decides,
            harms=harmful.get(name) == verdict,
        )

    def _read_outcomes(self) -> "tuple[dict[str, np.ndarray], np.ndarray]":
        """What shoppers did since they were first served, the deciding outcome first; and what they spent before."""
        lines = OrderLine.objects.filter(**self._since_served("order__ordered_at", "order__shopper"))
        [revenue, cost, unknown, orders] = self._columns(
            lines.values_list("order__shopper").annotate(
                amount=Sum("amount"),
                cost=Sum(F("quantity") * F("product__cost"), output_field=FloatField()),
                unknown=Count("pk", filter=Q(product__cost__isnull=True)),
                orders=Count("order", distinct=True),
            ),
            4,
        )
        uses = Redemption.objects.filter(
            campaign=self._experiment.campaign_id, **self._since_served("redeemed_at", "shopper")
        )
        dismissals = Event.objects.filter(kind=Event.Kind.DISMISS, **self._since_served("occurred_at", "shopper"))
        # Nobody who opted out before was served.
        opted_out = ExperimentExposure.objects.filter(experiment=self._experiment, shopper__opted_out=True)
        outcomes = {"revenue": revenue}
        if not unknown.any():
            outcomes["margin"] = revenue - cost
        outcomes["orders"] = orders
        for name, rows in (("uses", uses), ("dismissals", dismissals), ("opt_outs", opted_out)):
            [outcomes[name]] = self._columns(rows.values_list("shopper").annotate(number=Count("pk")), 1)
        earlier = OrderLine.objects.filter(
            order__shopper__experiment_exposures__experiment=self._experiment,
            order__ordered_at__gte=self._since - (self._ends_at - self._since),
            order__ordered_at__lt=self._since,
        )
        [before] = self._columns(earlier.values_list("order__shopper").annotate(amount=Sum("amount")), 1)
        decisive = self._experiment.outcome
        return {name: outcomes[name] for name in sorted(outcomes, key=lambda name: name != decisive)}, before

    def _since_served(self, moment: str, shopper: str) -> dict[str, object]:
        exposure = f"{shopper}__experiment_exposures__"
        return {
            f"{exposure}experiment": self._experiment,
            f"{moment}__gte": F(f"{exposure}exposed_at"),
            f"{moment}__lt": self._until,
        }

    def _columns(self, grouped: QuerySet, number: int) -> "list[np.ndarray]":
        return read_columns(self._shoppers["shopper"], grouped, number)
