"""Who becomes the champion."""

from dataclasses import asdict, dataclass
from typing import Any

from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.evaluation.comparison import Comparison, direction_of
from recommender.sentences import say

BASELINE = "popularity"


@dataclass(frozen=True)
class Finding:
    """One condition of the gate, whether it holds, and its facts.

    Attributes:
        kind: ``better_than_baseline`` or ``not_below_champion``.
        gain: by how much the candidate is better than the other (positive is better, whatever the metric), with its
            paired interval.
    """

    kind: str
    holds: bool
    metric: str
    candidate: str
    other: str
    gain: Estimate

    def __str__(self) -> str:
        names = {"candidate": self.candidate, "other": self.other, "metric": self.metric}
        if self.gain.value is None or self.gain.low is None or self.gain.high is None:
            return say("%(candidate)s and %(other)s cannot be compared: %(metric)s is undefined", **names)
        ends = {"gain": self.gain.value, "low": self.gain.low, "high": self.gain.high}
        gain = say(
            "gain %(gain)s (95 %% interval %(low)s to %(high)s)",
            **{name: f"{round(number, 4) + 0.0:+.4f}" for name, number in ends.items()},
        )
        match self.kind, self.holds:
            case "better_than_baseline", True:
                return say("%(candidate)s is better than %(other)s by %(metric)s: %(gain)s", gain=gain, **names)
            case "better_than_baseline", False:
                return say(
                    "%(candidate)s is not surely better than %(other)s by %(metric)s: %(gain)s", gain=gain, **names
                )
            case "not_below_champion", True:
                return say("%(candidate)s is not below %(other)s by %(metric)s: %(gain)s", gain=gain, **names)
            case _:
                return say("%(candidate)s is below %(other)s by %(metric)s: %(gain)s", gain=gain, **names)


@dataclass(frozen=True)
class GateDecision:
    """Whether a candidate may become the champion, and each finding that decided it."""

    candidate: str
    passed: bool
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        match [str(finding) for finding in self.findings]:
            case [first, second]:
                return say("%(first)s; %(second)s", first=first, second=second)
            case [only]:
                return only
            case _:
                return say("%(candidate)s is the baseline itself", candidate=self.candidate)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def choose_champion(comparison: Comparison, metric: str) -> str:
    """The algorithm with the best value of a metric; of equals the first by name.

    Raises:
        ValueError: the metric is unknown or no measure of quality, or undefined for every algorithm.
    """
    best = comparison.ranked(metric)[0]
    if comparison.estimates[best][metric].value is None:
        raise ValueError(
            f"{metric} is undefined for every algorithm: {comparison.redemption_count} of {comparison.pair_count} "
            "pairs were redeemed; choose another period."
        )
    return best


def passes_gate(
    comparison: Comparison, *, candidate: str, metric: str, champion: str | None = None, baseline: str = BASELINE
) -> GateDecision:
    """Whether a candidate may become the champion.

    It must be better than the baseline, with the whole paired interval of its gain above 0. Where there is a present
    champion, the candidate's value must not be below the champion's, and the paired interval of its gain not wholly
    below 0. The baseline as a candidate need not be better than itself, so that a shop whose history teaches nothing
    more still has a champion; the present champion as a candidate is compared with the baseline only.

    Raises:
        ValueError: the metric is no measure of quality, or an algorithm is not in the comparison.
    """
    direction_of(metric)
    for name in (candidate, baseline, champion):
        if name is not None and name not in comparison.estimates:
            raise ValueError(f"{name!r} is not in the comparison; expected one of {', '.join(comparison.estimates)}.")
    findings = []
    if candidate != baseline:
        gain = _gain(comparison, candidate, baseline, metric)
        better = gain.low is not None and gain.low > 0
        findings.append(Finding("better_than_baseline", better, metric, candidate, baseline, gain))
    if champion is not None and candidate != champion:
        gain = _gain(comparison, candidate, champion, metric)
        kept = gain.value is not None and gain.high is not None and gain.value >= 0 and gain.high >= 0
        findings.append(Finding("not_below_champion", kept, metric, candidate, champion, gain))
    return GateDecision(candidate, all(finding.holds for finding in findings), tuple(findings))


def _gain(comparison: Comparison, candidate: str, other: str, metric: str) -> Estimate:
    if direction_of(metric) > 0:
        return comparison.difference(candidate, other, metric)
    return comparison.difference(other, candidate, metric)
