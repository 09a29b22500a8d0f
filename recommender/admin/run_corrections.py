"""The pages by which staff correct a run, undo a correction and say what they think of it."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from recommender.admin.base import TableAdmin, change_url
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.models import Coupon, Run, RunCorrection, Shopper


class CorrectionForm(forms.Form):
    """Names its coupon and shopper by the shop's identifiers, as the links of the run's pages fill them in."""

    kind = forms.ChoiceField(
        label=gettext_lazy("What to do"), choices=RunCorrection.Kind.choices, widget=UnfoldAdminSelectWidget()
    )
    coupon = forms.CharField(
        label=gettext_lazy("Coupon id"),
        help_text=gettext_lazy("Without a shopper it is meant on every list. Empty: the shopper's whole list."),
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )
    shopper = forms.CharField(
        label=gettext_lazy("Shopper id"),
        help_text=gettext_lazy("Empty: every list that holds the coupon."),
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=500, widget=UnfoldAdminTextInputWidget())

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
        if cleaned["coupon"] is None and cleaned["shopper"] is None:
            raise forms.ValidationError(_("Name a coupon, a shopper or both."))
        if cleaned["coupon"] is None and cleaned["kind"] == RunCorrection.Kind.PIN:
            raise forms.ValidationError(_("Name the coupon that is to be put first."))
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
        run = self.get_viewable(request, object_id)

        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.services.corrections import correct_run

            correction = correct_run(
                run=run,
                kind=RunCorrection.Kind(data["kind"]),
                coupon=data["coupon"],
                shopper=data["shopper"],
                reason=data["reason"],
                made_by=request.user,  # type: ignore[arg-type]
            )
            return Outcome(_("Corrected: %(correction)s.") % {"correction": correction})

        text = _("The lists and what is expected of them follow at once. It can be undone until the run is published.")
        if run.state == Run.State.APPROVED:
            text += " " + _("The run is approved: it goes back to review.")
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=run,
            refusal=refuse_correction(run),
            confirmation=Confirmation(
                title=_("Correct this run"), text=text, button=_("Correct"), facts=[(_("Run"), run)]
            ),
            act=act,
            form_class=CorrectionForm,
            initial={name: request.GET.get(name, "") for name in ("kind", "coupon", "shopper")},
        )

    def undo_correction(self, request: HttpRequest, run_key: int, correction_key: int) -> HttpResponse:
        run = self.get_viewable(request, str(run_key))
        if not request.user.has_perm("recommender.review_run"):
            raise PermissionDenied
        correction = (
            run.corrections.select_related("run", "coupon", "shopper", "made_by").filter(pk=correction_key).first()
        )
        if correction is None:
            raise Http404(_("There is no such correction of run %(run)s.") % {"run": run.pk})

        def act(data: object) -> Outcome:
            from recommender.services.corrections import undo_correction

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
    """Why a run cannot be corrected in its present state; None where it can."""
    if run.state in (Run.State.DRAFTED, Run.State.APPROVED):
        return None
    return _("Run %(run)s cannot be corrected: its state is “%(state)s”.") % {
        "run": run.pk,
        "state": run.get_state_display(),
    }
