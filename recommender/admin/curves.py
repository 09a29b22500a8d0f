"""The curves of models, drawn side by side, and what matters most to each."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from recommender.admin.charts import STYLES, Line, LineChart, line_chart
from recommender.admin.feature_groups import label_of
from recommender.admin.figures import decimal_of
from recommender.models import ModelVersion

#: Groups of facts that a comparison names of each model.
FIRST = 3


@dataclass(frozen=True)
class Weight:
    """A group of facts and by how much it moves the log-odds of scores, also as a share of the largest, in percent."""

    title: str | Promise
    size: str
    width: str


@dataclass(frozen=True)
class DrawnCurves:
    """Attributes:
    charts: the curves of all versions, a chart for each kind.
    legend: each version with the style of its lines.
    lifts: each version with its lift by tenth.
    """

    charts: list[LineChart]
    legend: list[tuple[ModelVersion, int]]
    lifts: list[tuple[ModelVersion, list[str]]]


def draw_curves(versions: Sequence[ModelVersion]) -> DrawnCurves | None:
    """The curves of the versions that have any; None where none has."""
    shown = [version for version in versions if version.curves]
    if not shown:
        return None
    styles = [(version, number % STYLES + 1) for number, version in enumerate(shown)]

    def lines(kind: str) -> list[Line]:
        return [Line(str(version), style, version.curves[kind]) for version, style in styles]

    charts = [
        line_chart(
            title=_("ROC"),
            x_title=_("Unused offers taken in"),
            y_title=_("Used offers found"),
            lines=lines("roc"),
            diagonal=True,
        ),
        line_chart(
            title=_("Precision and recall"),
            x_title=_("Used offers found"),
            y_title=_("Used among those taken in"),
            lines=lines("precision_recall"),
        ),
        line_chart(
            title=_("Calibration"),
            x_title=_("Mean probability of a tenth"),
            y_title=_("Share of it that was used"),
            lines=lines("calibration"),
            diagonal=True,
            to_one=False,
        ),
        line_chart(
            title=_("Gain"),
            x_title=_("Offers, the most likely first"),
            y_title=_("Used offers among them"),
            lines=lines("gain"),
            diagonal=True,
        ),
    ]
    return DrawnCurves(
        charts=[chart for chart in charts if chart is not None],
        legend=styles,
        lifts=[(version, [decimal_of(lift, 2) for lift in version.curves["lift"]]) for version in shown],
    )


def weigh_groups(version: ModelVersion) -> list[Weight]:
    """What matters to a version, the most first; nothing where it was not measured."""
    sizes = sorted(version.importance.items(), key=lambda each: -each[1])
    largest = max((size for _group, size in sizes), default=0)
    return [
        Weight(label_of(group), decimal_of(size, 2), f"{100 * size / largest:.2f}" if largest else "0")
        for group, size in sizes
    ]


def name_first_groups(versions: Sequence[ModelVersion]) -> list[tuple[ModelVersion, list[Weight]]]:
    """Of each version that has them, what matters most."""
    return [(version, weigh_groups(version)[:FIRST]) for version in versions if version.importance]
