"""Model versions side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from recommender.admin import metrics
from recommender.admin.figures import decimal_of
from recommender.models import Evaluation, ModelVersion

COLUMNS = 6  #: of a table, so that it fits a page


@dataclass(frozen=True)
class Cell:
    """A figure of one version: its text, its interval (empty where it has none), and whether no other is better."""

    value: str
    interval: str
    is_best: bool


@dataclass(frozen=True)
class Table:
    """Some metrics of all versions: the titles of the columns, and a row of cells for each version."""

    titles: list[str]
    rows: list[tuple[ModelVersion, list[Cell]]]


def compare_versions(versions: QuerySet[ModelVersion]) -> list[Table]:
    """The main metrics of the versions, then the others, then what they cost; the best ROC-AUC first."""
    figures: dict[int, dict[str, Evaluation]] = {}
    for evaluation in Evaluation.objects.filter(model_version__in=versions.values("pk")):
        figures.setdefault(evaluation.model_version_id, {})[evaluation.metric] = evaluation

    def roc_auc(version: ModelVersion) -> float:
        found = figures.get(version.pk, {}).get("roc_auc")
        return found.value if found is not None and found.value is not None else -1.0

    ranked = sorted(versions, key=roc_auc, reverse=True)
    others = [name for name in metrics.COLUMNS if name not in metrics.MAIN]
    groups = [metrics.MAIN, *(others[start : start + COLUMNS] for start in range(0, len(others), COLUMNS))]
    return [*(_tabulate(names, ranked, figures) for names in groups), _tabulate_costs(ranked)]


def _tabulate(
    names: Sequence[str], versions: Sequence[ModelVersion], figures: dict[int, dict[str, Evaluation]]
) -> Table:
    best = {name: _best_value(name, figures) for name in names}
    rows = []
    for version in versions:
        found = figures.get(version.pk, {})
        rows.append((version, [_cell(found.get(name), best[name]) for name in names]))
    return Table([str(metrics.title_of(name)) for name in names], rows)


def _tabulate_costs(versions: Sequence[ModelVersion]) -> Table:
    """Time and memory, the least the best."""
    titles = [_("Seconds to fit"), _("Seconds to score a million offers"), _("Memory")]
    costs = {version.pk: (version.fit_seconds, version.score_seconds, version.peak_memory) for version in versions}
    least = [
        min((cost for cost in column if cost is not None), default=None) for column in zip(*costs.values(), strict=True)
    ]
    rows = []
    for version in versions:
        fit, score, memory = costs[version.pk]
        shown = [
            decimal_of(fit),
            metrics.UNDEFINED if score is None else decimal_of(score),
            metrics.UNDEFINED if memory is None else filesizeformat(memory),
        ]
        cells = [
            Cell(text, "", is_best=cost is not None and cost == best)
            for text, cost, best in zip(shown, costs[version.pk], least, strict=True)
        ]
        rows.append((version, cells))
    return Table(titles, rows)


def _best_value(metric: str, figures: dict[int, dict[str, Evaluation]]) -> float | None:
    better = metrics.COLUMNS[metric].better
    values = [found[metric].value for found in figures.values() if metric in found]
    known = [value for value in values if value is not None]
    if not known or not better:
        return None
    return max(known) if better > 0 else min(known)


def _cell(evaluation: Evaluation | None, best: float | None) -> Cell:
    if evaluation is None:
        return Cell(metrics.UNDEFINED, "", is_best=False)
    is_best = best is not None and evaluation.value == best
    return Cell(metrics.value_of(evaluation), metrics.interval_of(evaluation), is_best)
