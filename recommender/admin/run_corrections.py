"""The pages by which staff correct a run, undo a correction and say what they think of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from recommender.admin.base import TableAdmin, change_url
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import count_of
from recommender.models import Coupon, Job, Run, RunCorrection, Segment, Shopper
from recommender.wording import gettext as _

if TYPE_CHECKING:
    from recommender.services.corrections import Reach

#: What a correction may name besides its kind.
REACHING = ("coupon", "segment", "shopper")


class ReachForm(forms.Form):
    """What is to be corrected. Coupon and shopper are named by the shop's identifiers, as links fill them in."""

    kind = forms.ChoiceField(
        label=gettext_lazy("What to do"), choices=RunCorrection.Kind.choices, widget=UnfoldAdminSelectWidget()
    )
    coupon = forms.CharField(
        label=gettext_lazy("Coupon id"),
        help_text=gettext_lazy("Empty: all coupons of the lists. To put first, one is needed."),
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )
    segment = forms.ModelChoiceField(
        Segment.objects.all(),
        label=gettext_lazy("Segment"),
        help_text=gettext_lazy(
            "The lists of those who belong to it now. Who that is stays as it was, whatever becomes of the segment."
        ),
        required=False,
        widget=UnfoldAdminSelectWidget(),
    )
    shopper = forms.CharField(
        label=gettext_lazy("Shopper id"),
        help_text=gettext_lazy("With neither a segment nor a shopper it is meant on every list."),
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )

    def clean_coupon(self) -> Coupon | None:
        identifier = self.cleaned_data["coupon"]
        coupon = Coupon.objects.filter(coupon_id=identifier).first()
        if identifier and coupon is None:
            raise forms.ValidationError(_("There is no coupon %(id)s."), params={"id": identifier})
        return coupon

    def clean_shopper(self) -> Shopper | None:
        identifier = self.cleaned_data["shopper"]
        shopper = Shopper.objects.filter(shopper_id=identifier).first()
        if identifier and shopper is None:
            raise forms.ValidationError(_("There is no shopper %(id)s."), params={"id": identifier})
        return shopper

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        if all(cleaned[name] is None for name in REACHING):
            raise forms.ValidationError(_("Name a coupon, a segment or a shopper."))
        if cleaned["shopper"] is not None and cleaned["segment"] is not None:
            raise forms.ValidationError(_("Name a shopper or a segment, not both."))
        if cleaned["coupon"] is None and cleaned["kind"] == RunCorrection.Kind.PIN:
            raise forms.ValidationError(_("Name the coupon that is to be put first."))
        return cleaned

    def reaching(self) -> dict[str, Any]:
        """The rows that a valid form names, by their kind."""
        return {name: self.cleaned_data[name] for name in REACHING}

    def choice(self) -> str:
        """What a valid form asks for, told apart from anything else."""
        keys = [row.pk if row is not None else "" for row in self.reaching().values()]
        return ":".join(map(str, [self.cleaned_data["kind"], *keys]))


class ReasonForm(forms.Form):
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=500, widget=UnfoldAdminTextInputWidget())


class CorrectionForm(ReasonForm, ReachForm):
    """Is valid once the reader saw what exactly this reaches."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput())

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not self.errors and cleaned["seen"] != self.choice():
            self.data = self.data.dict() | {"seen": self.choice()}  # type: ignore[attr-defined]
            raise forms.ValidationError(_("Nothing was changed yet: look at what it reaches, and confirm."))
        return cleaned


class RunCorrectionsMixin(TableAdmin):
    """What :class:`RunAdmin` offers for corrections and comments."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:run_key>/comment/", view(self.comment), name="recommender_run_comment"),
            path(
                "<int:run_key>/corrections/<int:correction_key>/undo/",
                view(self.undo_correction),
                name="recommender_run_undo_correction",
            ),
            *super().get_urls(),
        ]

    @action(description=gettext_lazy("Correct"), permissions=["recommender.review_run"], icon="edit")
    def correct(self, request: HttpRequest, object_id: str) -> HttpResponse:
        from recommender.services.corrections import Reach, correct_run, foresee_correction, refuse_repetition

        run = self.get_viewable(request, object_id)
        chosen = ReachForm(request.POST or request.GET)
        reach: Reach | None = None
        facts: list[tuple[str, object]] = [(_("Run"), run)]
        if chosen.is_valid():
            reach = foresee_correction(run=run, **chosen.reaching())
            facts += _describe_reach(run, reach)

        def act(data: Mapping[str, Any]) -> Outcome:
            kind = RunCorrection.Kind(data["kind"])
            named = {name: data[name] for name in REACHING}
            if reach is not None and reach.is_large:
                keys = {name: row.pk for name, row in named.items() if row is not None}
                return _start(request, run, {"kind": kind.value, "reason": data["reason"], **keys})
            refuse_repetition(run=run, kind=kind, **named)
            correction = correct_run(
                run=run,
                kind=kind,
                **named,
                reason=data["reason"],
                made_by=request.user,  # type: ignore[arg-type]
            )
            return Outcome(_("Corrected: %(correction)s.") % {"correction": correction})

        text: str = _(
            "The lists and what is expected of them follow at once. It can be undone until the run is published."
        )
        if run.state == Run.State.APPROVED:
            text += " " + _("The run is approved: it goes back to review.")
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=run,
            refusal=refuse_correction(run),
            confirmation=Confirmation(title=_("Correct this run"), text=text, button=_("Correct"), facts=facts),
            act=act,
            form_class=CorrectionForm,
            initial={
                **{name: request.GET.get(name, "") for name in ("kind", *REACHING)},
                "seen": chosen.choice() if reach is not None else "",
            },
        )

    def undo_correction(self, request: HttpRequest, run_key: int, correction_key: int) -> HttpResponse:
        from recommender.services.corrections import foresee_undoing, undo_correction

        run = self.get_viewable(request, str(run_key))
        if not request.user.has_perm("recommender.review_run"):
            raise PermissionDenied
        correction = (
            run.corrections.select_related("run", "coupon", "shopper", "made_by").filter(pk=correction_key).first()
        )
        if correction is None:
            raise Http404(_("There is no such correction of run %(run)s.") % {"run": run.pk})
        reach = foresee_undoing(correction=correction)

        def act(data: object) -> Outcome:
            if reach.is_large and correction.undone_at is None:
                return _start(request, run, {"undo": correction.pk})
            undo_correction(correction=correction, undone_by=request.user)  # type: ignore[arg-type]
            return Outcome(_("Undone: %(correction)s.") % {"correction": correction})

        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=run,
            refusal=refuse_correction(run),
            confirmation=Confirmation(
                title=_("Undo this correction"),
                text=_("The lists are as the other corrections leave them."),
                button=_("Undo"),
                facts=[
                    (_("Run"), run),
                    (_("Correction"), correction),
                    (_("Reason"), correction.reason or "–"),
                    (_("Made by"), correction.made_by or "–"),
                    *_describe_reach(run, reach),
                ],
            ),
            act=act,
        )

    @method_decorator(require_POST)
    def comment(self, request: HttpRequest, run_key: int) -> HttpResponse:
        from recommender.services.comments import NothingSaid, add_comment

        run = self.get_viewable(request, str(run_key))
        if not request.user.has_perm("recommender.add_runcomment"):
            raise PermissionDenied
        try:
            add_comment(run=run, text=request.POST.get("text", ""), written_by=request.user)  # type: ignore[arg-type]
        except NothingSaid as error:
            messages.error(request, str(error))
        return redirect(f"{change_url(run)}#comments")


def refuse_correction(run: Run) -> str | None:
    """Why a run cannot be corrected now; None where it can."""
    if run.state not in (Run.State.DRAFTED, Run.State.APPROVED):
        return _("Run %(run)s cannot be corrected: its state is “%(state)s”.") % {
            "run": run.pk,
            "state": run.get_state_display(),
        }
    return refuse_meanwhile(run)


def refuse_meanwhile(run: Run) -> str | None:
    """Why nothing is decided on a run that a job corrects; None where none does."""
    from recommender.services.correction_jobs import say_being_corrected

    return say_being_corrected(run=run) or None


def _start(request: HttpRequest, run: Run, arguments: Mapping[str, Any]) -> Outcome:
    """Have a job correct a run. The same asked for twice is done once."""
    from recommender.jobs import start_job

    job = start_job(
        kind=Job.Kind.CORRECT,
        key=run.correction_job_key,
        arguments={"run": run.pk, **arguments},
        started_by=request.user,  # type: ignore[arg-type]
    )
    if job.arguments != {"run": run.pk, **arguments}:  # another's, begun a moment before
        raise ValueError(refuse_meanwhile(run) or _("Nothing was changed. Please look again."))
    return Outcome(_("The correction is under way: job %(job)s.") % {"job": job.pk}, url=change_url(job))


def _describe_reach(run: Run, reach: "Reach") -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        (
            _("Lists that it reaches"),
            _("%(lists)s of %(all)s") % {"lists": count_of(reach.lists), "all": count_of(run.shopper_count)},
        ),
        (_("Recommendations that it reaches"), count_of(reach.recommendations)),
    ]
    if reach.is_large:
        facts.append((_("How"), _("By a job, because it is large. Until it has ended the run cannot be approved.")))
    return facts
