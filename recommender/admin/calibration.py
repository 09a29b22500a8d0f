"""Whether promises came true, in words and as a table."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from recommender.admin.base import link_to
from recommender.admin.figures import count_of, decimal_of, uses_of
from recommender.services.drift import CalibrationDrift, Verdict

VERDICTS: dict[Verdict, tuple[str | Promise, str]] = {
    Verdict.UNKNOWN: (gettext_lazy("not known yet"), "default"),
    Verdict.HOLDS: (gettext_lazy("as expected"), "success"),
    Verdict.FEWER: (gettext_lazy("fewer than expected"), "danger"),
    Verdict.MORE: (gettext_lazy("more than expected"), "danger"),
}


@dataclass(frozen=True)
class CalibrationTable:
    """What ``calibration.html`` shows."""

    verdict: str | Promise
    variant: str
    rows: list[dict[str, object]]
    explanation: str


def tabulate_calibration(drift: CalibrationDrift) -> CalibrationTable:
    verdict, variant = VERDICTS[drift.verdict]
    rows: list[dict[str, object]] = [
        {
            "link": link_to(outcome.run),
            "expected": uses_of(outcome.expected),
            "interval": f"{count_of(outcome.low)} – {count_of(outcome.high)}",
            "used": count_of(outcome.used),
        }
        for outcome in drift.runs
    ]
    return CalibrationTable(verdict, variant, rows, _explain(drift))


def sum_up(drift: CalibrationDrift) -> str:
    """The uses counted beside those expected, with the interval."""
    counted = ngettext(
        "%(used)s use, %(low)s – %(high)s expected", "%(used)s uses, %(low)s – %(high)s expected", drift.used
    )
    return counted % {
        "used": count_of(drift.used),
        "low": decimal_of(drift.low, 0),
        "high": decimal_of(drift.high, 0),
    }


def _explain(drift: CalibrationDrift) -> str:
    if not drift.runs:
        return _("No campaign with a published run is over yet.")
    summed = ngettext(
        "%(runs)d published run of a campaign that is over: %(sum)s (95 of 100 times).",
        "%(runs)d published runs of campaigns that are over: %(sum)s (95 of 100 times).",
        len(drift.runs),
    ) % {"runs": len(drift.runs), "sum": sum_up(drift)}
    if not drift.warns:
        return summed
    return f"{summed} {_('Chances of use are not what they were when the model was trained: train anew.')}"
