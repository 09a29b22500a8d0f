"""Corrections: what staff change in a run's lists before it is published, and take back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from recommender.bulk import insert_selected
from recommender.models import (
    Coupon,
    Job,
    Recommendation,
    Run,
    RunCorrection,
    RunCorrectionShopper,
    Segment,
    Shopper,
    User,
)
from recommender.progress import Progress
from recommender.services.clashes import count_clashes
from recommender.services.correction_jobs import refuse_while_corrected
from recommender.services.estimates import estimate_run
from recommender.services.runs import WrongState
from recommender.services.segments import find_shoppers
from recommender.wording import gettext as _

#: What a run can be corrected in. One that was approved has to be looked at again.
OPEN_STATES = (Run.State.DRAFTED, Run.State.APPROVED)
#: Added to ranks on their way, so that no two of a list are ever the same; lists are shorter than this.
OUT_OF_THE_WAY = 10_000
#: More recommendations than this on the lists that a correction reaches are a job's work, not a page's.
LARGE = 50_000
#: So many lists are changed between one look at whether to go on and the next.
PART_LISTS = 2_000


class NothingToCorrect(ValueError):
    """A correction that reaches no recommendation of the run."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How much of a run a correction reaches.

    Attributes:
        lists: shoppers whose list it reaches.
        recommendations: those that it reaches, be they offered or taken out.
        is_large: whether the lists, at their full length, hold more than ``LARGE`` recommendations.
    """

    lists: int
    recommendations: int
    is_large: bool


def foresee_correction(
    *, run: Run, coupon: Coupon | None = None, shopper: Shopper | None = None, segment: Segment | None = None
) -> Reach:
    """What a correction would reach if it were made now."""
    return _measure(run, _find_reached(run, coupon, shopper, segment))


def foresee_undoing(*, correction: RunCorrection) -> Reach:
    """What undoing a correction would reach."""
    return _measure(correction.run, _reached(correction))


def correct_run(
    *,
    run: Run,
    kind: RunCorrection.Kind,
    coupon: Coupon | None = None,
    shopper: Shopper | None = None,
    segment: Segment | None = None,
    reason: str = "",
    made_by: User | None = None,
    job: Job | None = None,
    progress: Progress = Progress(),
) -> RunCorrection:
    """Take out, bring back or put first: a coupon on every list, a whole list, or a coupon on some lists.

    The lists are those of everybody, of a shopper, or of whoever belongs to a segment now; who that was is kept. The
    lists and what is expected of the run follow at once, all of it or nothing. An approved run is to be reviewed again.

    Args:
        job: that does it. One that is taken up again after it was done returns what it made.

    Raises:
        WrongState: the run is neither drafted nor approved. What was published stays on record as it was.
        BeingCorrected: another job corrects the run.
        NothingToCorrect: no list of the run is reached, a whole list was to be put first, or both a shopper and a
            segment are named.
    """
    if coupon is None and ((shopper is None and segment is None) or kind == RunCorrection.Kind.PIN):
        raise NothingToCorrect(_("Say which coupon is meant."))
    if shopper is not None and segment is not None:
        raise NothingToCorrect(_("Name a shopper or a segment, not both."))
    if job is not None and (made := job.corrections.first()) is not None:
        return made
    refuse_while_corrected(run=run, by=job)  # before the row is waited for, which a job may hold for minutes
    with transaction.atomic():
        locked = _lock_open(run, job)
        correction = RunCorrection.objects.create(
            run=run,
            kind=kind,
            coupon=coupon,
            shopper=shopper,
            segment=segment,
            segment_name=segment.name if segment is not None else "",
            reason=reason,
            made_by=made_by,
            job=job,
        )
        if segment is not None:
            progress.report(_("Looking up who belongs to the segment"))
            _keep_shoppers(correction, _find_reached(run, coupon, None, segment))
        if not _reached(correction).exists():
            raise NothingToCorrect(_("No list of run %(run)s is reached by this.") % {"run": run.pk})
        _apply(locked, correction, progress)
    run.refresh_from_db()
    return correction


def refuse_repetition(
    *,
    run: Run,
    kind: RunCorrection.Kind,
    coupon: Coupon | None = None,
    shopper: Shopper | None = None,
    segment: Segment | None = None,
) -> None:
    """Do nothing unless the same was corrected last: a page that is sent again from another tab changes nothing, and
    should not look as if it did.

    Raises:
        NothingToCorrect: it was. Of a segment that is never said, as others may belong to it by now.
    """
    if segment is not None:
        return
    last = run.corrections.standing().order_by("-pk").first()
    if last is not None and not last.segment_name and (last.kind, last.coupon, last.shopper) == (kind, coupon, shopper):
        raise NothingToCorrect(_("The run was corrected so already: %(correction)s.") % {"correction": last})


def undo_correction(
    *,
    correction: RunCorrection,
    undone_by: User | None = None,
    job: Job | None = None,
    progress: Progress = Progress(),
) -> RunCorrection:
    """Take a correction back: the lists are as the others leave them. One that was undone before stays as it is.

    Raises:
        WrongState: the run is neither drafted nor approved.
        BeingCorrected: another job corrects the run.
    """
    refuse_while_corrected(run=correction.run, by=job)
    with transaction.atomic():
        locked = _lock_open(correction.run, job)
        # Never before it was made, whatever another host's clock says.
        undone = RunCorrection.objects.standing().filter(pk=correction.pk)
        if undone.update(undone_at=max(timezone.now(), correction.made_at), undone_by=undone_by):
            correction.refresh_from_db()
            _apply(locked, correction, progress)
    correction.refresh_from_db()
    return correction


def _lock_open(run: Run, job: Job | None) -> Run:
    """The run's row, which nobody publishes or corrects until the transaction ends. Comments on it are let through."""
    locked = Run.objects.select_for_update(no_key=True).get(pk=run.pk)
    if locked.state not in OPEN_STATES:
        raise WrongState(locked, OPEN_STATES)
    refuse_while_corrected(run=locked, by=job)
    return locked


def _measure(run: Run, reached: QuerySet[Recommendation]) -> Reach:
    counts = reached.order_by().aggregate(lists=Count("shopper", distinct=True), recommendations=Count("pk"))
    return Reach(**counts, is_large=counts["lists"] * run.top > LARGE)


def _find_reached(
    run: Run, coupon: Coupon | None, shopper: Shopper | None, segment: Segment | None
) -> QuerySet[Recommendation]:
    """What a correction that is not made yet would reach."""
    recommendations = Recommendation.objects.filter(run=run)
    if coupon is not None:
        recommendations = recommendations.filter(coupon=coupon)
    if shopper is not None:
        recommendations = recommendations.filter(shopper=shopper)
    if segment is not None:
        members = find_shoppers(segment=segment, at=timezone.now())
        recommendations = recommendations.filter(shopper__in=members.order_by().values("pk"))
    return recommendations


def _keep_shoppers(correction: RunCorrection, reached: QuerySet[Recommendation]) -> None:
    key = Value(correction.pk, output_field=BigIntegerField())
    rows = reached.order_by().annotate(correction=key).values_list("correction", "shopper").distinct()
    insert_selected(RunCorrectionShopper, ["correction_id", "shopper_id"], rows)


def _reached(correction: RunCorrection) -> QuerySet[Recommendation]:
    recommendations = Recommendation.objects.filter(run=correction.run_id)
    if correction.coupon_id is not None:
        recommendations = recommendations.filter(coupon=correction.coupon_id)
    if correction.shopper_id is not None:
        recommendations = recommendations.filter(shopper=correction.shopper_id)
    if correction.segment_name:
        recommendations = recommendations.filter(
            shopper__in=correction.correction_shoppers.order_by().values("shopper")
        )
    return recommendations


def _reaching() -> QuerySet[RunCorrection]:
    """The standing corrections that reach a recommendation, in a query of recommendations."""
    of_segment = RunCorrectionShopper.objects.filter(correction=OuterRef("pk"), shopper=OuterRef(OuterRef("shopper")))
    return RunCorrection.objects.standing().filter(
        Q(coupon__isnull=True) | Q(coupon=OuterRef("coupon")),
        Q(shopper__isnull=True) | Q(shopper=OuterRef("shopper")),
        Q(segment_name="") | Exists(of_segment),
        run=OuterRef("run"),
    )


def _apply(run: Run, correction: RunCorrection, progress: Progress) -> None:
    """Bring what a correction reaches into line with the corrections that stand now."""
    if correction.kind == RunCorrection.Kind.PIN:
        for part in _parts(correction, progress):
            _apply_pins(correction, part)
    else:
        _apply_exclusions(run, correction, progress)
    if run.state == Run.State.APPROVED:
        Run.objects.filter(pk=run.pk).update(state=Run.State.DRAFTED, reviewed_at=None, reviewed_by=None)


def _parts(correction: RunCorrection, progress: Progress) -> Iterator[QuerySet[Recommendation]]:
    """What a correction reaches, some lists at a time."""
    reached = _reached(correction)
    shoppers = list(reached.order_by("shopper").values_list("shopper", flat=True).distinct())
    for start in range(0, len(shoppers), PART_LISTS):
        progress.report(_("Changing lists"), start, len(shoppers))
        part = shoppers[start : start + PART_LISTS]
        yield reached.filter(shopper__gte=part[0], shopper__lte=part[-1])


def _apply_exclusions(run: Run, correction: RunCorrection, progress: Progress) -> None:
    if run.estimated_at is None or run.exclusive_lists is None:  # drafted before this was kept
        estimate_run(run=run)
    clashes = count_clashes(run=run, shopper_key=correction.shopper_id) if correction.shopper_id else {}
    change = 0
    for reached in _parts(correction, progress):
        lists = run.recommendations.offered().filter(shopper__in=reached.order_by().values("shopper"))
        had_a_list = _count_shoppers(lists)
        if correction.undone_at is None:  # the latest of all
            out = correction.kind == RunCorrection.Kind.EXCLUDE
            reached.filter(excluded=not out).update(excluded=out)
        else:
            reached.update(excluded=_excluded_by_corrections())
        change += _count_shoppers(lists) - had_a_list
    Run.objects.filter(pk=run.pk).update(shopper_count=F("shopper_count") + change)
    progress.report(_("Estimating what the run would bring"))
    if correction.coupon_id is not None:
        coupon_keys = [correction.coupon_id]
    else:
        coupon_keys = list(_reached(correction).order_by().values_list("coupon_id", flat=True).distinct())
    estimate_run(run=run, coupon_keys=coupon_keys)
    _renew_clashes(run, correction, clashes)


def _renew_clashes(run: Run, correction: RunCorrection, before: Mapping[str, int]) -> None:
    """Count clashes anew; of one list by what it changes, as all lists would take seconds for it."""
    now: dict[str, Any] = dict(count_clashes(run=run, shopper_key=correction.shopper_id))
    if correction.shopper_id is not None:
        # Where terms of coupons changed since the last count of all, more may go away than were counted.
        now = {name: Greatest(F(name) + count - before[name], 0) for name, count in now.items()}
    Run.objects.filter(pk=run.pk).update(**now)


def _excluded_by_corrections() -> Coalesce:
    latest = (
        _reaching()
        .filter(kind__in=[RunCorrection.Kind.EXCLUDE, RunCorrection.Kind.INCLUDE])
        .order_by("-pk")
        .annotate(out=Case(When(kind=RunCorrection.Kind.EXCLUDE, then=Value(True)), default=Value(False)))
        .values("out")[:1]
    )
    return Coalesce(Subquery(latest), Value(False))


def _count_shoppers(recommendations: QuerySet[Recommendation]) -> int:
    return recommendations.aggregate(shoppers=Count("shopper", distinct=True))["shoppers"]


def _apply_pins(correction: RunCorrection, reached: QuerySet[Recommendation]) -> None:
    """Rank the reached lists anew: what was put first, the latest before the others, then the rest as computed."""
    if correction.undone_at is None:
        reached.update(pin=correction.pk)
    else:
        pins = _reaching().filter(kind=RunCorrection.Kind.PIN).order_by().values("run").annotate(last=Max("pk"))
        reached.filter(pin=correction.pk).update(pin=Subquery(pins.values("last")))
    lists = Recommendation.objects.filter(run=correction.run_id, shopper__in=reached.order_by().values("shopper"))
    # A row is moved out of the way and back, and only where its place changes. What this is told by is the same before
    # and after a row is moved, so that it does not matter whether the database sees the others as moved already.
    computed = Coalesce("computed_rank", "rank")
    place = Coalesce(Subquery(_count_in_front(), output_field=IntegerField()), 0) + 1
    lists.exclude(rank=place).update(computed_rank=computed, rank=place + OUT_OF_THE_WAY)
    lists.filter(rank__gt=OUT_OF_THE_WAY).update(rank=F("rank") - OUT_OF_THE_WAY)


def _count_in_front() -> QuerySet:
    """How many stand before a recommendation, in a query of recommendations."""
    pin, computed = Coalesce(OuterRef("pin"), 0), Coalesce(OuterRef("computed_rank"), OuterRef("rank"))
    return (
        Recommendation.objects.filter(run=OuterRef("run"), shopper=OuterRef("shopper"))
        .annotate(pinned=Coalesce(F("pin"), 0), computed=Coalesce("computed_rank", "rank"))
        .filter(Q(pinned__gt=pin) | Q(pinned=pin, computed__lt=computed))
        .order_by()
        .values("run")
        .annotate(count=Count("pk"))
        .values("count")
    )
