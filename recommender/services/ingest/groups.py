"""What became of groups that a file tells of: it follows from who joined them."""

from django.db.models import (
    Case,
    CharField,
    Count,
    F,
    OuterRef,
    PositiveIntegerField,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)

from recommender.models import GroupBuy, GroupBuyMember
from recommender.services.ingest.report import LoadRefused
from recommender.wording import gettext as _

State = GroupBuy.State
#: As many parameters as any database takes in a query.
SETTLED_AT_ONCE = 500


def settle_groups() -> None:
    """Count the members that a load brought to groups that ended, which were filled if they were enough.

    A group that has fewer members than were counted before lost one who was erased, and stays what it was.

    Raises:
        LoadRefused: a group has more members than it has places, or is open here and no file may speak of it.
    """
    counted = GroupBuy.objects.annotate(counted=Count("members"))
    _refuse(
        counted.filter(counted__gt=F("size")),
        _("Group %(group)s has more members than places. Nothing was loaded."),
    )
    _refuse(
        counted.filter(state=State.OPEN).filter(Q(ended_at__isnull=False) | Q(counted__gt=F("joined"))),
        _("Group %(group)s is open here, and a file tells of groups that ended. Nothing was loaded."),
    )
    members = GroupBuyMember.objects.filter(group=OuterRef("pk")).order_by().values("group").annotate(count=Count("pk"))
    count = Subquery(members.values("count"), output_field=PositiveIntegerField())
    keys = list(counted.filter(counted__gt=F("joined")).values_list("pk", flat=True))
    for begin in range(0, len(keys), SETTLED_AT_ONCE):
        GroupBuy.objects.filter(pk__in=keys[begin : begin + SETTLED_AT_ONCE]).update(
            joined=count,
            state=Case(
                When(size=count, then=Value(State.UNLOCKED.value)),
                default=Value(State.FAILED.value),
                output_field=CharField(),
            ),
        )


def _refuse(groups: QuerySet[GroupBuy], why: str) -> None:
    if (group := groups.first()) is not None:
        raise LoadRefused(why % {"group": group})
