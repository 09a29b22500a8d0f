"""Where the shop's systems are told what happened, and what was sent to them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display

from recommender.admin.base import ReadOnlyMixin, TableAdmin, link_to
from recommender.admin.choices import ChoicesField
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import count_of
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.admin.secrets import show_secret
from recommender.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from recommender.wording import gettext as _
from recommender.wording import recall

STATE_LABELS = {
    WebhookDelivery.State.WAITING: "info",
    WebhookDelivery.State.DELIVERED: "success",
    WebhookDelivery.State.FAILED: "danger",
}


class WebhookEndpointForm(forms.ModelForm):
    events = ChoicesField(label=gettext_lazy("Events"), choices=[(event.value, event.label) for event in WebhookEvent])

    class Meta:
        model = WebhookEndpoint
        fields = ("name", "url", "events", "active")

    def clean_url(self) -> str:
        from recommender.services.outbound import AddressRefused, check_address

        url: str = self.cleaned_data["url"]
        try:
            check_address(url)
        except AddressRefused as refusal:
            raise ValidationError(str(refusal)) from refusal
        return url


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(TableAdmin):
    """An endpoint that is no longer wanted is made inactive: what was sent to it stays on record."""

    form = WebhookEndpointForm
    list_display = ("name", "url", "event_names", "active", "created_at")
    list_filter = ("active",)
    search_fields = ("name", "url")
    fields = ("name", "url", "events", "active")
    actions_detail = ("replace_secret",)

    def has_delete_permission(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> bool:
        return False

    @display(description=gettext_lazy("events"))
    def event_names(self, endpoint: WebhookEndpoint) -> str:
        return ", ".join(endpoint.events)

    def save_model(self, request: HttpRequest, obj: WebhookEndpoint, form: forms.ModelForm, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        from recommender.services.webhooks import create_endpoint

        row, request.created_secret = create_endpoint(  # type: ignore[attr-defined]
            name=obj.name,
            url=obj.url,
            events=form.cleaned_data["events"],
            created_by=request.user,  # type: ignore[arg-type]
        )
        obj.pk = row.pk
        if not form.cleaned_data["active"]:
            WebhookEndpoint.objects.filter(pk=row.pk).update(active=False)
        obj.refresh_from_db()

    def response_add(
        self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show(request, obj, _("Webhook made"), request.created_secret)  # type: ignore[attr-defined]

    @action(
        description=gettext_lazy("New secret"), permissions=["recommender.change_webhookendpoint"], icon="autorenew"
    )
    def replace_secret(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = self.get_viewable(request, object_id)
        made: list[str] = []

        def act(data: object) -> Outcome:
            from recommender.services.webhooks import replace_secret

            made.append(replace_secret(endpoint=endpoint))
            return Outcome(_("%(endpoint)s has a new secret.") % {"endpoint": endpoint})

        confirmation = Confirmation(
            title=_("Make a new secret"),
            text=_("Everything is signed with it from now on, what is waiting to be sent too. It is shown once."),
            button=_("New secret"),
            facts=[(_("Webhook"), endpoint), (_("Address"), endpoint.url)],
            dangerous=True,
        )
        answer = confirm_and_do(model_admin=self, request=request, obj=endpoint, confirmation=confirmation, act=act)
        return self._show(request, endpoint, _("Secret replaced"), made[0]) if made else answer

    def _show(self, request: HttpRequest, endpoint: WebhookEndpoint, title: str, secret: str) -> HttpResponse:
        usage = _("The receiving system checks with it the header %(header)s of every message.") % {
            "header": "webhook-signature"
        }
        return show_secret(model_admin=self, request=request, obj=endpoint, title=title, secret=secret, usage=usage)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("__str__", "state_label", "attempts", "last_answer", "happened_at", "next_attempt", "finished_at")
    list_select_related = ("endpoint",)
    list_filter = ("state", "event", "endpoint")
    search_fields = ("message_id",)
    search_help_text = gettext_lazy("A whole message id.")
    sortable_by = ()  # no other index serves
    fields = (
        *("endpoint_link", "event", "message_id", "happened_at", "data", "state_label", "attempts", "next_attempt"),
        *("finished_at", "attempts_made"),
    )
    readonly_fields = fields
    actions_detail = ("redeliver",)

    @display(description=gettext_lazy("state"), ordering="state", label=STATE_LABELS)
    def state_label(self, delivery: WebhookDelivery) -> tuple[str, str]:
        return delivery.state, delivery.get_state_display()

    @display(description=gettext_lazy("last answer"))
    def last_answer(self, delivery: WebhookDelivery) -> str:
        if not delivery.log:
            return "–"
        return _answer_in_words(delivery.log[-1])[:80]

    @display(description=gettext_lazy("next attempt"))
    def next_attempt(self, delivery: WebhookDelivery) -> str:
        waits = delivery.state == WebhookDelivery.State.WAITING and delivery.next_attempt_at is not None
        return _moment(delivery.next_attempt_at) if waits else "–"

    @display(description=gettext_lazy("log"))
    def attempts_made(self, delivery: WebhookDelivery) -> str:
        rows = [
            {
                "at": _moment(datetime.fromisoformat(attempt["at"])),
                "answer": _answer_in_words(attempt),
                "milliseconds": count_of(attempt["milliseconds"]),
            }
            for attempt in reversed(delivery.log)
        ]
        return render_to_string("admin/recommender/attempts.html", {"attempts": rows}) if rows else "–"

    @display(description=gettext_lazy("webhook"))
    def endpoint_link(self, delivery: WebhookDelivery) -> str | None:
        return link_to(delivery.endpoint)

    def list_possible_actions(self, obj: WebhookDelivery) -> Iterable[str]:
        return () if obj.state == WebhookDelivery.State.WAITING else self.actions_detail

    @action(description=gettext_lazy("Send again"), permissions=["recommender.change_webhookdelivery"], icon="send")
    def redeliver(self, request: HttpRequest, object_id: str) -> HttpResponse:
        delivery = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            from recommender.services.webhooks import redeliver

            redeliver(delivery=delivery, at=timezone.now())
            return Outcome(_("The message is sent again in a moment."))

        confirmation = Confirmation(
            title=_("Send this message again"),
            text=_("It keeps its message id, so a system that has taken it already can tell."),
            button=_("Send again"),
            facts=[(_("Message"), delivery), (_("State"), delivery.get_state_display())],
        )
        return confirm_and_do(model_admin=self, request=request, obj=delivery, confirmation=confirmation, act=act)


def _moment(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "DATETIME_FORMAT")


def _answer_in_words(attempt: Mapping[str, Any]) -> str:
    """The status of the answer to an attempt, and what went wrong."""
    return " ".join(str(part) for part in (attempt["status"], recall(attempt["error"])) if part)
