"""Corrections: what staff change in a run's lists before it is published, and take back."""

from django.db import transaction
from django.db.models import Case, Count, F, IntegerField, Max, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _

from recommender.models import Coupon, Recommendation, Run, RunCorrection, Shopper, User
from recommender.services.estimates import estimate_run
from recommender.services.runs import WrongState

#: What a run can be corrected in. One that was approved has to be looked at again.
OPEN_STATES = (Run.State.DRAFTED, Run.State.APPROVED)
#: Added to ranks on their way, so that no two of a list are ever the same; lists are shorter than this.
OUT_OF_THE_WAY = 10_000


class NothingToCorrect(ValueError):
    """A correction that reaches no recommendation of the run."""


def correct_run(
    *,
    run: Run,
    kind: RunCorrection.Kind,
    coupon: Coupon | None = None,
    shopper: Shopper | None = None,
    reason: str = "",
    made_by: User | None = None,
) -> RunCorrection:
    """Take out, bring back or put first: a coupon on every list, a shopper's whole list, or a coupon on one list.

    The lists and what is expected of the run follow at once. An approved run is to be reviewed again.

    Raises:
        WrongState: the run is neither drafted nor approved. What was published stays on record as it was.
        NothingToCorrect: no list of the run is reached, or a whole list was to be put first.
    """
    if coupon is None and (shopper is None or kind == RunCorrection.Kind.PIN):
        raise NothingToCorrect(_("Say which coupon is meant."))
    with transaction.atomic():
        locked = _lock_open(run)
        correction = RunCorrection(run=run, kind=kind, coupon=coupon, shopper=shopper, reason=reason, made_by=made_by)
        if not _reached(correction).exists():
            raise NothingToCorrect(_("No list of run %(run)s is reached by this.") % {"run": run.pk})
        correction.save()
        _apply(locked, correction)
    run.refresh_from_db()
    return correction


def undo_correction(*, correction: RunCorrection, undone_by: User | None = None) -> RunCorrection:
    """Take a correction back: the lists are as the others leave them. One that was undone before stays as it is.

    Raises:
        WrongState: the run is neither drafted nor approved.
    """
    with transaction.atomic():
        locked = _lock_open(correction.run)
        # Never before it was made, whatever another host's clock says.
        undone = RunCorrection.objects.standing().filter(pk=correction.pk)
        if undone.update(undone_at=max(timezone.now(), correction.made_at), undone_by=undone_by):
            _apply(locked, correction)
    correction.refresh_from_db()
    return correction


def _lock_open(run: Run) -> Run:
    """The run's row, which nobody publishes or corrects until the transaction ends."""
    locked = Run.objects.select_for_update().get(pk=run.pk)
    if locked.state not in OPEN_STATES:
        raise WrongState(locked, OPEN_STATES)
    return locked


def _reached(correction: RunCorrection) -> QuerySet[Recommendation]:
    recommendations = Recommendation.objects.filter(run=correction.run_id)
    if correction.coupon_id is not None:
        recommendations = recommendations.filter(coupon=correction.coupon_id)
    if correction.shopper_id is not None:
        recommendations = recommendations.filter(shopper=correction.shopper_id)
    return recommendations


def _reaching() -> QuerySet[RunCorrection]:
    """The standing corrections that reach a recommendation, in a query of recommendations."""
    return RunCorrection.objects.standing().filter(
        Q(coupon__isnull=True) | Q(coupon=OuterRef("coupon")),
        Q(shopper__isnull=True) | Q(shopper=OuterRef("shopper")),
        run=OuterRef("run"),
    )


def _apply(run: Run, correction: RunCorrection) -> None:
    """Bring what a correction reaches into line with the corrections that stand now."""
    if correction.kind == RunCorrection.Kind.PIN:
        _apply_pins(correction)
    else:
        _apply_exclusions(run, correction)
    if run.state == Run.State.APPROVED:
        Run.objects.filter(pk=run.pk).update(state=Run.State.DRAFTED, reviewed_at=None, reviewed_by=None)


def _apply_exclusions(run: Run, correction: RunCorrection) -> None:
    if run.estimated_at is None:  # drafted before estimates were kept
        estimate_run(run=run)
    reached = _reached(correction)
    lists = run.recommendations.offered().filter(shopper__in=reached.order_by().values("shopper"))
    had_a_list = _count_shoppers(lists)
    latest = (
        _reaching()
        .filter(kind__in=[RunCorrection.Kind.EXCLUDE, RunCorrection.Kind.INCLUDE])
        .order_by("-pk")
        .annotate(out=Case(When(kind=RunCorrection.Kind.EXCLUDE, then=Value(True)), default=Value(False)))
        .values("out")[:1]
    )
    reached.update(excluded=Coalesce(Subquery(latest), Value(False)))
    Run.objects.filter(pk=run.pk).update(shopper_count=F("shopper_count") + _count_shoppers(lists) - had_a_list)
    if correction.coupon_id is not None:
        coupon_keys = [correction.coupon_id]
    else:
        coupon_keys = list(reached.values_list("coupon_id", flat=True))  # of one list
    estimate_run(run=run, coupon_keys=coupon_keys)


def _count_shoppers(recommendations: QuerySet[Recommendation]) -> int:
    return recommendations.aggregate(shoppers=Count("shopper", distinct=True))["shoppers"]


def _apply_pins(correction: RunCorrection) -> None:
    """Rank the reached lists anew: what was put first, the latest before the others, then the rest as computed."""
    reached = _reached(correction)
    pins = _reaching().filter(kind=RunCorrection.Kind.PIN).order_by().values("run").annotate(last=Max("pk"))
    reached.update(pin=Subquery(pins.values("last")))
    lists = Recommendation.objects.filter(run=correction.run_id, shopper__in=reached.order_by().values("shopper"))
    lists.update(computed_rank=Coalesce("computed_rank", "rank"), rank=F("rank") + OUT_OF_THE_WAY)
    pin, pin_of_other = Coalesce(OuterRef("pin"), 0), Coalesce(F("pin"), 0)
    in_front = (
        Recommendation.objects.filter(run=OuterRef("run"), shopper=OuterRef("shopper"))
        .annotate(pinned=pin_of_other)
        .filter(Q(pinned__gt=pin) | Q(pinned=pin, computed_rank__lt=OuterRef("computed_rank")))
        .order_by()
        .values("run")
        .annotate(count=Count("pk"))
        .values("count")
    )
    lists.update(rank=Coalesce(Subquery(in_front, output_field=IntegerField()), 0) + 1)
