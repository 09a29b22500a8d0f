"""How staff read the figures of a model. The model layer has its own list, which a web process must not load."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recommender.admin.figures import decimal_of
from recommender.models import Evaluation

UNDEFINED = "–"


@dataclass(frozen=True)
class MetricColumn:
    """A metric as a table shows it.

    Attributes:
        title: what its column is called.
        better: 1 where more is better, -1 where less is, 0 where it is no measure of quality.
        decimals: digits after the point.
    """

    title: str | Promise
    better: int = 1
    decimals: int = 3

    def format(self, value: float | None) -> str:
        return UNDEFINED if value is None else decimal_of(value, self.decimals)


COLUMNS: Mapping[str, MetricColumn] = MappingProxyType(
    {
        "roc_auc": MetricColumn(_("ROC-AUC")),
        "pr_auc": MetricColumn(_("PR-AUC"), decimals=4),
        "auc_within": MetricColumn(_("AUC within lists")),
        "ndcg_at_10": MetricColumn(_("NDCG@10")),
        "map_at_10": MetricColumn(_("MAP@10")),
        "recall_at_10": MetricColumn(_("Recall@10")),
        "hits_at_10": MetricColumn(_("Redeemed in top 10"), decimals=0),
        "coverage_at_10": MetricColumn(_("Coverage")),
        "log_loss": MetricColumn(_("Log loss"), better=-1, decimals=5),
        "brier": MetricColumn(_("Brier"), better=-1, decimals=5),
        "calibration_error": MetricColumn(_("Calibration error"), better=-1, decimals=5),
        "expected_redemptions": MetricColumn(_("Expected redemptions"), better=0, decimals=1),
        "redemptions": MetricColumn(_("Redemptions"), better=0, decimals=0),
        "accuracy": MetricColumn(_("Accuracy"), decimals=4),
        "accuracy_of_never": MetricColumn(_("Accuracy of never"), better=0, decimals=4),
        "precision": MetricColumn(_("Precision")),
        "recall": MetricColumn(_("Recall")),
        "f1": MetricColumn(_("F1")),
        "precision_weighted": MetricColumn(_("Precision, weighted"), decimals=4),
        "recall_weighted": MetricColumn(_("Recall, weighted"), decimals=4),
        "f1_weighted": MetricColumn(_("F1, weighted"), decimals=4),
    }
)

#: What decides between models: shown side by side in the list, and with intervals in the comparison.
MAIN = ("roc_auc", "pr_auc", "ndcg_at_10", "recall_at_10")


def title_of(metric: str) -> str | Promise:
    """A metric's title; its name where it is not one of :data:`COLUMNS`."""
    return COLUMNS[metric].title if metric in COLUMNS else metric


def value_of(evaluation: Evaluation) -> str:
    """The figure as text, with the digits of its metric."""
    return COLUMNS.get(evaluation.metric, MetricColumn("")).format(evaluation.value)


def interval_of(evaluation: Evaluation) -> str:
    """The figure's interval as text; empty where it has none."""
    if evaluation.low is None or evaluation.high is None:
        return ""
    column = COLUMNS.get(evaluation.metric, MetricColumn(""))
    return f"{column.format(evaluation.low)} – {column.format(evaluation.high)}"
