"""Coupons in baskets, codes and groups: looked at, and codes made and fetched."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from recommender.admin.base import LookedAtInline, ReadOnlyMixin, TableAdmin, change_url, link_to
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import count_of, decimal_of, percent_of
from recommender.admin.jobs import STATE_LABELS as JOB_LABELS
from recommender.admin.long_lists import IdentifierSearchMixin, tell_count
from recommender.admin.results import describe_groups
from recommender.group_reasons import group_reasons_in_words
from recommender.models import (
    CodeBatch,
    GroupBuy,
    GroupBuyMember,
    GroupInvitation,
    Job,
    Reservation,
    ReservationCoupon,
    Shop,
)
from recommender.wording import gettext as _

if TYPE_CHECKING:
    from recommender.ml.group_model import Check
    from recommender.services.group_recommendation import Chance

RESERVATION_LABELS = {
    Reservation.State.RESERVED: "info",
    Reservation.State.CONFIRMED: "success",
    Reservation.State.RELEASED: "default",
    Reservation.State.EXPIRED: "default",
    Reservation.State.REVERSED: "warning",
}
GROUP_LABELS = {
    GroupBuy.State.OPEN: "info",
    GroupBuy.State.UNLOCKED: "success",
    GroupBuy.State.FAILED: "default",
}


#: Groups on the page of open ones, the time that it looks back, and shoppers that are told to be invited.
GROUPS_SHOWN, LATELY, INVITEES_SHOWN = 100, timedelta(days=28), 20


class ReservationCouponInline(LookedAtInline):
    model = ReservationCoupon
    fields = ("coupon", "campaign", "code", "amount", "held_amount", "redemption")
    shown_by = ("coupon", "campaign", "code", "redemption__shopper", "redemption__coupon")
    per_page = 20


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("reservation_id", "shopper", "state_label", "created_at", "expires_at", "order_id")
    list_select_related = ("shopper",)
    list_filter = ("state", "created_at")
    search_fields = ("reservation_id", "shopper__shopper_id", "order_id")
    search_help_text = gettext_lazy("A whole reservation id, shopper id or order id.")
    sortable_by = ("reservation_id", "created_at", "order_id")  # what an index serves
    fields = (
        *("reservation_id", "shopper", "state_label", "order_id"),
        *("created_at", "expires_at", "confirmed_at", "ended_at"),
        *("lines", "basket_digest"),
    )
    readonly_fields = ("reservation_id", "state_label")
    inlines = (ReservationCouponInline,)

    @display(description=gettext_lazy("state"), ordering="state", label=RESERVATION_LABELS)
    def state_label(self, reservation: Reservation) -> tuple[str, str]:
        state = Reservation.State(reservation.state_at(timezone.now()))
        return state, str(state.label)


class GroupBuyMemberInline(LookedAtInline):
    model = GroupBuyMember
    fields = ("shopper", "joined_at", "held_uses")
    shown_by = ("shopper",)
    per_page = 50


class GroupInvitationInline(LookedAtInline):
    model = GroupInvitation
    fields = ("shopper", "invited_at")
    shown_by = ("shopper",)
    per_page = 50


@admin.register(GroupBuy)
class GroupBuyAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("group_id", "coupon", "state_label", "joined", "size", "opened_at", "closes_at")
    list_select_related = ("coupon",)
    list_filter = ("state", "opened_at")
    search_fields = ("group_id", "coupon__coupon_id")
    search_help_text = gettext_lazy("A whole group id or coupon id.")
    sortable_by = ("group_id",)  # what an index serves
    fields = ("group_id", "coupon", "state_label", "joined", "size", "opened_at", "closes_at", "ended_at")
    readonly_fields = ("group_id", "state_label")
    inlines = (GroupBuyMemberInline, GroupInvitationInline)
    actions_detail = ("whom_to_invite",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.outlook)
        return [path("outlook/", view, name="recommender_groupbuy_outlook"), *super().get_urls()]

    def outlook(self, request: HttpRequest) -> HttpResponse:
        """The open groups with their chances, what came of those that were begun lately, and how well chances do."""
        from recommender.services.group_recommendation import estimate_chances, read_model
        from recommender.services.reporting import report_groups

        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        is_open = GroupBuy.objects.filter(state=GroupBuy.State.OPEN, closes_at__gt=now).select_related("coupon")
        groups = list(is_open.order_by("closes_at", "pk")[:GROUPS_SHOWN])
        chances = estimate_chances(groups, at=now)
        lately = GroupBuy.objects.filter(opened_at__gte=now - LATELY)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Open groups"),
            "opts": self.opts,
            "open_count": count_of(is_open.count()),
            "groups": [
                {
                    "name": link_to(group),
                    "coupon": link_to(group.coupon),
                    "joined": f"{count_of(group.joined)} / {count_of(group.size)}",
                    "closes_at": group.closes_at,
                    "chance": _chance_in_words(chances[group.pk]),
                }
                for group in groups
            ],
            "days": LATELY.days,
            "check": _describe_check(read_model().check),
            **describe_groups(report_groups(groups=lately, at=now), Shop.current()),
        }
        return TemplateResponse(request, "admin/recommender/groups_outlook.html", context)

    def list_possible_actions(self, obj: GroupBuy) -> Iterable[str]:
        return ("whom_to_invite",) if obj.state_at(timezone.now()) == GroupBuy.State.OPEN else ()

    @action(description=gettext_lazy("Whom to invite"), permissions=["view"], icon="person_add")
    def whom_to_invite(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Who is likeliest to join an open group."""
        from recommender.services.checkout.refusals import CheckoutRefused
        from recommender.services.group_recommendation import recommend_invitees

        group = self.get_viewable(request, object_id)
        try:
            _group, chance, invitees = recommend_invitees(
                group_id=group.group_id, at=timezone.now(), limit=INVITEES_SHOWN
            )
        except CheckoutRefused:
            messages.error(request, _("Nobody can join this group any more."))
            return redirect(change_url(group))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Whom to invite"),
            "opts": self.opts,
            "original": group,
            "group_link": link_to(group),
            "coupon_link": link_to(group.coupon),
            "joined": f"{count_of(group.joined)} / {count_of(group.size)}",
            "chance": _chance_in_words(chance),
            "invitees": [
                {"name": invitee.shopper_id, "reasons": group_reasons_in_words(invitee.reasons)} for invitee in invitees
            ],
        }
        return TemplateResponse(request, "admin/recommender/groups_invitees.html", context)

    @display(description=gettext_lazy("state"), ordering="state", label=GROUP_LABELS)
    def state_label(self, group: GroupBuy) -> tuple[str, str]:
        state = GroupBuy.State(group.state_at(timezone.now()))
        return state, str(state.label)


def _chance_in_words(chance: "Chance") -> str:
    if chance.value is None:
        return _("not known: no group ended yet")
    told = percent_of(chance.value, 0)
    if chance.basis == "base_rate":
        return _("%(chance)s, as of past groups of its size") % {"chance": told}
    return told


def _describe_check(check: "Check | None") -> dict[str, Any] | None:
    """How well chances that were learned from earlier groups came true in later ones."""
    if check is None:
        return None
    return {
        "passed": check.passed,
        "learned_from": count_of(check.learned_from),
        "checked_on": count_of(check.checked_on),
        "error": percent_of(check.error, 1),
        "brier": decimal_of(check.brier, 3),
        "base_brier": decimal_of(check.base_brier, 3),
        "bins": [
            {
                "count": count_of(each.count),
                "predicted": percent_of(each.predicted, 0),
                "filled": percent_of(each.filled, 0),
            }
            for each in check.bins
        ],
    }


@admin.register(CodeBatch)
class CodeBatchAdmin(TableAdmin):
    """A batch is added, made by a job and fetched; it is neither changed nor deleted."""

    list_display = ("coupon", "count", "made", "state_label", "created_by", "created_at")
    list_select_related = ("coupon", "created_by", "job")
    list_filter = ("created_at",)
    search_fields = ("coupon__coupon_id__startswith",)
    fields = ("coupon", "count", "prefix", "length")
    autocomplete_fields = ("coupon",)
    actions_detail = ("export", "go_on")

    def get_fields(self, request: HttpRequest, obj: CodeBatch | None = None) -> Any:
        if obj is None:
            return self.fields
        return (*self.fields, "made", "state_label", "job_link", "used", "created_by", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: CodeBatch | None = None) -> Any:
        return () if obj is None else ("state_label", "job_link", "used")

    def has_change_permission(self, request: HttpRequest, obj: CodeBatch | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: CodeBatch | None = None) -> bool:
        return False

    @display(description=gettext_lazy("state"), label=JOB_LABELS)
    def state_label(self, batch: CodeBatch) -> tuple[str, str]:
        state = Job.State(batch.state)
        return state, str(state.label)

    @display(description=gettext_lazy("job"))
    def job_link(self, batch: CodeBatch) -> str | None:
        return link_to(batch.job)

    @display(description=gettext_lazy("used"))
    def used(self, batch: CodeBatch) -> str:
        return tell_count(batch.codes.filter(uses=1))

    def save_model(self, request: HttpRequest, obj: CodeBatch, form: ModelForm, change: bool) -> None:
        obj.created_by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)
        _start(obj, request)

    def list_possible_actions(self, obj: CodeBatch) -> Iterable[str]:
        if obj.is_complete:
            return ("export",)
        return () if obj.job is not None and not obj.job.is_finished else ("go_on",)

    @action(
        description=gettext_lazy("Export the codes"),
        permissions=["recommender.export_codebatch"],
        icon="download",
        variant=ActionVariant.PRIMARY,
    )
    def export(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        from recommender.services.checkout.codes import export_codes

        batch = self.get_viewable(request, object_id)
        if not batch.is_complete:
            messages.error(request, _("Not all codes are made yet."))
            return redirect(change_url(batch))
        self.log_change(request, batch, _("The codes were exported."))
        answer = StreamingHttpResponse(export_codes(batch=batch), content_type="text/csv; charset=utf-8")
        answer.headers["Content-Disposition"] = f'attachment; filename="codes-{batch.pk}.csv"'
        return answer

    @action(
        description=gettext_lazy("Go on making codes"),
        permissions=["recommender.add_codebatch"],
        icon="play_arrow",
    )
    def go_on(self, request: HttpRequest, object_id: str) -> HttpResponse:
        batch = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            _start(batch, request)
            return Outcome(_("The codes are being made."))

        confirmation = Confirmation(
            title=_("Go on making codes"),
            text=_("Those that are made stay; the rest is made now."),
            button=_("Go on making codes"),
            facts=[(_("Coupon"), batch.coupon), (_("Made"), f"{count_of(batch.made)} / {count_of(batch.count)}")],
        )
        refusal = _("All codes are made.") if batch.is_complete else None
        return confirm_and_do(
            model_admin=self, request=request, obj=batch, confirmation=confirmation, act=act, refusal=refusal
        )


def _start(batch: CodeBatch, request: HttpRequest) -> None:
    from recommender.jobs import start_job
    from recommender.services.checkout.codes import attach_job

    job = start_job(
        kind=Job.Kind.CODES,
        key=f"codes {batch.pk}",
        arguments={"batch": batch.pk},
        started_by=request.user,  # type: ignore[arg-type]
    )
    attach_job(batch=batch, job=job)
