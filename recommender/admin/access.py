"""Keys of the shop's systems."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget

from recommender.admin.base import TableAdmin
from recommender.admin.choices import ChoicesField
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.secrets import show_secret
from recommender.models import ApiKey, Scope
from recommender.wording import gettext as _

GRACE_HOURS = {
    0: gettext_lazy("at once"),
    1: gettext_lazy("after an hour"),
    24: gettext_lazy("after a day"),
    7 * 24: gettext_lazy("after a week"),
}


class ApiKeyForm(forms.ModelForm):
    scopes = ChoicesField(
        label=gettext_lazy("Scopes"),
        choices=[(scope.value, scope.label) for scope in Scope],
        help_text=gettext_lazy("What the key opens: no more than its system needs."),
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scopes")


class RotationForm(forms.Form):
    grace = forms.TypedChoiceField(
        label=gettext_lazy("the former secret ends"),
        choices=list(GRACE_HOURS.items()),
        coerce=int,
        initial=24,
        widget=UnfoldAdminSelectWidget,
        help_text=gettext_lazy("Until then both open the API, so that the system can be given the new one in peace."),
    )


@admin.register(ApiKey)
class ApiKeyAdmin(TableAdmin):
    """A key is made, rotated and revoked, never changed, and its row stays as a record."""

    form = ApiKeyForm
    list_display = ("name", "prefix", "is_usable", "scope_names", "last_used_at", "created_at", "revoked_at")
    list_filter = ("revoked_at",)
    search_fields = ("name", "prefix__startswith")
    actions_detail = ("rotate", "revoke")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("name", "scopes")
        return (
            *("name", "prefix", "scope_names", "created_at", "created_by"),
            *("last_used_at", "previous_until", "revoked_at"),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return () if obj is None else self.get_fields(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    @display(description=gettext_lazy("usable"), boolean=True)
    def is_usable(self, api_key: ApiKey) -> bool:
        return api_key.revoked_at is None

    @display(description=gettext_lazy("scopes"))
    def scope_names(self, api_key: ApiKey) -> str:
        return ", ".join(api_key.scopes)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm, change: bool) -> None:
        from recommender.services.access import create_api_key

        row, request.created_api_key = create_api_key(  # type: ignore[attr-defined]
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            created_by=request.user,  # type: ignore[arg-type]
        )
        obj.pk = row.pk
        obj.refresh_from_db()

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self._show(request, obj, _("API key made"), request.created_api_key)  # type: ignore[attr-defined]

    def list_possible_actions(self, obj: ApiKey) -> Iterable[str]:
        return self.actions_detail if obj.revoked_at is None else ()

    @action(description=gettext_lazy("Rotate"), permissions=["recommender.change_apikey"], icon="autorenew")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        api_key = self.get_viewable(request, object_id)
        made: list[str] = []

        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.services.access import rotate_api_key

            grace = timedelta(hours=data["grace"])
            made.append(rotate_api_key(api_key=api_key, at=timezone.now(), grace=grace))
            return Outcome(_("The key %(key)s has a new secret.") % {"key": api_key})

        confirmation = Confirmation(
            title=_("Rotate this key"),
            text=_("The key gets a new secret, which is shown once. Its scopes and its history stay."),
            button=_("Rotate"),
            facts=[(_("Key"), api_key), (_("Last used"), api_key.last_used_at or "–")],
        )
        answer = confirm_and_do(
            model_admin=self,
            request=request,
            obj=api_key,
            confirmation=confirmation,
            act=act,
            form_class=RotationForm,
            refusal=None if api_key.revoked_at is None else _("The key is revoked: make a new one instead."),
        )
        return self._show(request, api_key, _("Key rotated"), made[0]) if made else answer

    @action(
        description=gettext_lazy("Revoke"),
        permissions=["recommender.change_apikey"],
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        api_key = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            from recommender.services.access import revoke_api_key

            revoke_api_key(api_key=api_key, at=timezone.now())
            return Outcome(_("The key %(key)s is revoked.") % {"key": api_key})

        confirmation = Confirmation(
            title=_("Revoke this key"),
            text=_(
                "Whoever calls the API with it is refused from now on. It cannot be undone: make a new key instead."
            ),
            button=_("Revoke"),
            facts=[(_("Key"), api_key), (_("Made"), api_key.created_at), (_("Last used"), api_key.last_used_at or "–")],
            dangerous=True,
        )
        return confirm_and_do(model_admin=self, request=request, obj=api_key, confirmation=confirmation, act=act)

    def _show(self, request: HttpRequest, api_key: ApiKey, title: str, secret: str) -> HttpResponse:
        usage = _("The shop's system sends it with every request: %(header)s") % {"header": "Authorization: Bearer …"}
        return show_secret(model_admin=self, request=request, obj=api_key, title=title, secret=secret, usage=usage)
