"""Segments as a spreadsheet: a row a segment, a column a kind of condition, a line within the cell a condition.

What stands in a cell is read by people: ``at least 4 in 90 days``, ``at most 30``, ``at least 1 of Grocery / Ice``,
``income is 50-74K; 25-34K``. It is English in every language, as the names of columns are.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from import_export.fields import Field
from tablib import Dataset

from recommender.models import Category, Segment, SegmentCondition
from recommender.services.spreadsheets.resources import SpreadsheetResource
from recommender.services.spreadsheets.widgets import Cell, TextWidget

Kind, Comparison = SegmentCondition.Kind, SegmentCondition.Comparison
Texts = tuple[str, ...]

#: The columns, and an example of what each holds.
EXAMPLES = {
    Kind.LAST_ORDER: "at most 30",
    Kind.FIRST_ORDER: "at least 365",
    Kind.JOINED: "at most 30",
    Kind.ORDERS: "at least 4 in 90 days",
    Kind.SPEND: "at least 100.50 in 365 days",
    Kind.CATEGORY: "at least 2 in 90 days of Grocery / Ice",
    Kind.REDEMPTIONS: "at least 1",
    Kind.ATTRIBUTE: "income is 50-74K; 25-34K",
}
COLUMNS = tuple(kind.value for kind in EXAMPLES)
MOST_CONDITIONS = 20
WORDS = {
    "at least": Comparison.AT_LEAST,
    "at most": Comparison.AT_MOST,
    "is": Comparison.IS,
    "is not": Comparison.IS_NOT,
}
SAID = {comparison: words for words, comparison in WORDS.items()}
AGE = re.compile(r"(?P<comparison>at least|at most) (?P<days>[0-9]{1,9})")
SUM = re.compile(
    r"(?P<comparison>at least|at most) (?P<amount>[0-9]{1,11}(\.[0-9]{1,3})?)( in (?P<days>[0-9]{1,9}) days)?"
)
SUM_OF = re.compile(SUM.pattern + r" of (?P<category>.+)")
ATTRIBUTE = re.compile(r"(?P<attribute>.+?) (?P<comparison>is not|is)( (?P<value>.*))?")
#: A condition that cannot be told from another once it is written, such as an attribute with “is” in its name.
UNWRITABLE: Texts = ("(cannot be written here)",)


class ConditionsWidget(Cell):
    """Conditions of a kind, each as its line."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = Kind(kind)
        self.categories: Mapping[str, Category] = {}

    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> Texts:
        lines = split_lines(value)
        if lines == UNWRITABLE:
            return UNWRITABLE
        return tuple(write_condition(read_condition(self._kind, line, self.categories)) for line in lines)

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return TextWidget().render("\n".join(value or ()))


class SegmentResource(SpreadsheetResource):
    """A segment's conditions of a kind are replaced as a whole by its cell."""

    identifier = "name"

    class Meta(SpreadsheetResource.Meta):
        model = Segment
        import_id_fields = ("name",)
        fields = ("name", "description", "match", *COLUMNS)

    last_order = Field("last_order", "last_order", ConditionsWidget("last_order"))
    first_order = Field("first_order", "first_order", ConditionsWidget("first_order"))
    joined = Field("joined", "joined", ConditionsWidget("joined"))
    orders = Field("orders", "orders", ConditionsWidget("orders"))
    spend = Field("spend", "spend", ConditionsWidget("spend"))
    category = Field("category", "category", ConditionsWidget("category"))
    redemptions = Field("redemptions", "redemptions", ConditionsWidget("redemptions"))
    attribute = Field("attribute", "attribute", ConditionsWidget("attribute"))

    def before_import(self, dataset: Dataset, **kwargs: Any) -> None:
        super().before_import(dataset, **kwargs)
        cells = dataset["category"] if "category" in dataset.headers else []
        paths = {match["category"] for cell in cells for line in split_lines(cell) if (match := SUM_OF.fullmatch(line))}
        self._categories = Category.objects.in_bulk(paths, field_name="path")
        self.fields["category"].widget.categories = self._categories
        names = [TextWidget().clean(cell) for cell in dataset["name"]]
        self._conditions = read_conditions(Segment.objects.filter(name__in=names))

    def after_init_instance(self, instance: Segment, new: bool, row: Mapping[str, Any], **kwargs: Any) -> None:
        _show(instance, self._conditions.get(instance.pk, {}))

    def validate_instance(
        self, instance: Segment, import_validation_errors: Any = None, validate_unique: bool = True
    ) -> None:
        errors = dict(import_validation_errors or {})
        stored = self._conditions.get(instance.pk, {})
        for column in COLUMNS:
            if getattr(instance, column) == UNWRITABLE != stored.get(column):
                errors[column] = ValidationError(
                    _("%(mark)s keeps what is stored, and here it is something else."), params={"mark": UNWRITABLE[0]}
                )
        count = sum(len(getattr(instance, column)) for column in COLUMNS)
        if not errors and not 1 <= count <= MOST_CONDITIONS:
            errors["name"] = ValidationError(
                _("A segment has 1 to %(most)d conditions, not %(count)d."),
                params={"most": MOST_CONDITIONS, "count": count},
            )
        super().validate_instance(instance, errors, validate_unique)

    def after_save_instance(self, instance: Segment, row: Mapping[str, Any], **kwargs: Any) -> None:
        before = self._conditions.get(instance.pk, {})
        for column in COLUMNS:
            lines = getattr(instance, column)
            if lines in (UNWRITABLE, before.get(column, ())):
                continue
            instance.conditions.filter(kind=column).delete()
            for line in lines:
                condition = read_condition(Kind(column), line, self._categories)
                condition.segment = instance
                condition.save()

    def iter_queryset(self, queryset: QuerySet[Segment]) -> Iterator[Segment]:
        segments = list(queryset)
        conditions = read_conditions(Segment.objects.filter(pk__in=[segment.pk for segment in segments]))
        for segment in segments:
            _show(segment, conditions.get(segment.pk, {}))
            yield segment


def split_lines(value: Any) -> Texts:
    """The conditions in a cell, each once, in order."""
    lines = (" ".join(line.split()) for line in TextWidget().clean(value).splitlines())
    return tuple(dict.fromkeys(line for line in lines if line))


def read_condition(kind: SegmentCondition.Kind, text: str, categories: Mapping[str, Category]) -> SegmentCondition:
    """The condition that a line says.

    Raises:
        ValueError: it says none of its kind, or one that makes no sense.
    """
    if kind == Kind.ATTRIBUTE:
        pattern = ATTRIBUTE
    elif kind in SegmentCondition.AGES:
        pattern = AGE
    else:
        pattern = SUM_OF if kind == Kind.CATEGORY else SUM
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(
            _("Expected conditions such as “%(example)s”, one a line, not %(value)s.")
            % {"example": EXAMPLES[kind], "value": text[:100]}
        )
    said = match.groupdict()
    path = said.get("category")
    if path is not None and path not in categories:
        raise ValueError(_("There is no category %(path)s.") % {"path": path[:60]})
    condition = SegmentCondition(
        kind=kind,
        comparison=WORDS[said["comparison"]],
        amount=Decimal(said["amount"]) if said.get("amount") else None,
        days=int(said["days"]) if said.get("days") else None,
        category=categories[path] if path is not None else None,
        attribute=said.get("attribute") or "",
        value=said.get("value") or "",
    )
    try:
        condition.full_clean(exclude=["segment"], validate_constraints=False)
    except ValidationError as error:
        raise ValueError(f"{text[:100]}: {' '.join(error.messages)}") from error
    return condition


def write_condition(condition: SegmentCondition) -> str:
    """A condition as a line of its cell."""
    said = SAID[Comparison(condition.comparison)]
    if condition.kind == Kind.ATTRIBUTE:
        return f"{condition.attribute} {said} {condition.value}".rstrip()
    if condition.kind in SegmentCondition.AGES:
        return f"{said} {condition.days}"
    text = f"{said} {format((condition.amount or Decimal(0)).normalize(), 'f')}"
    if condition.days:
        text += f" in {condition.days} days"
    return text if condition.category is None else f"{text} of {condition.category.path}"


def read_conditions(segments: QuerySet[Segment]) -> dict[int, dict[str, Texts]]:
    """The conditions of segments, by their keys and their kinds, as their cells show them."""
    found: dict[int, dict[str, Texts]] = defaultdict(dict)
    rows = SegmentCondition.objects.filter(segment__in=segments).select_related("category").order_by("pk")
    for condition in rows:
        of_segment = found[condition.segment_id]
        lines = of_segment.get(condition.kind, ())
        if lines != UNWRITABLE:
            line = write_condition(condition)
            # The same condition twice is as good as once.
            one_more = lines if line in lines else (*lines, line)
            of_segment[condition.kind] = one_more if _says(line, condition) else UNWRITABLE
    return found


def _says(line: str, condition: SegmentCondition) -> bool:
    """Whether a line, once it is read, is the condition that it was written for."""
    categories = {condition.category.path: condition.category} if condition.category else {}
    try:
        (split,) = split_lines(line)
        read = read_condition(Kind(condition.kind), split, categories)
    except ValueError:
        return False
    names = ("comparison", "amount", "days", "category_id", "attribute", "value")
    return all(getattr(read, name) == getattr(condition, name) for name in names)


def _show(segment: Segment, conditions: Mapping[str, Texts]) -> None:
    """Give a segment the attributes that its sheet's columns show."""
    for column in COLUMNS:
        setattr(segment, column, conditions.get(column, ()))
