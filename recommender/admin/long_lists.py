"""Lists of tables that grow to millions: their pages, and finding something in them."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from unfold.views import ChangeList

from recommender.admin.figures import count_of

#: Nobody pages through more rows than these, so no more are counted: counting reads every row that it counts.
MOST_COUNTED = 10_000


def is_long(rows: QuerySet) -> bool:
    """Whether there are more rows than are counted."""
    return rows.order_by()[MOST_COUNTED : MOST_COUNTED + 1].exists()


def tell_count(rows: QuerySet) -> str:
    """How many rows there are, as far as they are counted."""
    count = rows.order_by()[: MOST_COUNTED + 1].count()
    return _("more than %(count)s") % {"count": count_of(MOST_COUNTED)} if count > MOST_COUNTED else count_of(count)


class BoundedPaginator(Paginator):
    """The first pages of a list, with the number of its rows if it is not above :data:`MOST_COUNTED`."""

    template_name = "admin/recommender/pagination.html"

    @cached_property
    def _counted(self) -> int:
        rows: QuerySet = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: MOST_COUNTED + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST_COUNTED)

    @property
    def has_more(self) -> bool:
        """Whether there are rows that no page shows."""
        return self._counted > MOST_COUNTED


class BoundedChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.has_more:
            self.full_result_count = self.result_count  # else the heading takes those counted for all that were found


class PrefixSearchMixin:
    """Search of a very large table by the beginning of its identifier, the only one of ``search_fields``.

    No more rows are looked for than a list counts: to find the latest of all that begin so, most of them would be read.
    """

    search_fields: tuple[str]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        beginning = search_term.strip()
        if not beginning:
            return queryset, False
        found = queryset.filter(**{self.search_fields[0]: beginning}).order_by()
        return queryset.filter(pk__in=found.values("pk")[: MOST_COUNTED + 1]), False


class IdentifierSearchMixin:
    """Search of a very large table by whole identifiers.

    ``search_fields`` name fields of the model, or of a related one as ``relation__field``. The related rows are looked
    up first: an OR over joined tables would read all of this one, an OR over its own indexed columns does not.
    """

    search_fields: tuple[str, ...]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        identifier = search_term.strip()
        if not identifier:
            return queryset, False
        match = Q(pk__in=[])
        for name in self.search_fields:
            relation, _separator, field = name.rpartition("__")
            if relation:
                related: Any = queryset.model._meta.get_field(relation).related_model
                keys = related._default_manager.filter(**{field: identifier}).values_list("pk", flat=True)
                match |= Q(**{f"{relation}__in": list(keys)})
            elif _can_be(queryset.model._meta.get_field(field), identifier):
                match |= Q(**{field: identifier})
        return queryset.filter(match), False


def _can_be(field: Any, identifier: str) -> bool:
    """Whether a field can hold it: not everything that is typed is a UUID."""
    try:
        field.to_python(identifier)
    except ValidationError:
        return False
    return True
