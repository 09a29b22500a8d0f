"""Keys of the shop's systems."""

from collections.abc import Iterable

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from recommender.admin.base import TableAdmin, change_url
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.models import ApiKey


@admin.register(ApiKey)
class ApiKeyAdmin(TableAdmin):
    """A key is made and revoked, never changed, and its row stays as a record."""

    list_display = ("name", "prefix", "is_usable", "created_at", "created_by", "revoked_at")
    list_select_related = ("created_by",)
    list_filter = ("revoked_at",)
    search_fields = ("name", "prefix__startswith")
    actions_detail = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return ("name",) if obj is None else ("name", "prefix", "created_at", "created_by", "revoked_at")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    @display(description=gettext_lazy("usable"), boolean=True)
    def is_usable(self, api_key: ApiKey) -> bool:
        return api_key.revoked_at is None

    def save_model(self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm, change: bool) -> None:
        from recommender.services.access import create_api_key

        row, request.created_api_key = create_api_key(  # type: ignore[attr-defined]
            name=form.cleaned_data["name"],
            created_by=request.user,  # type: ignore[arg-type]
        )
        obj.pk = row.pk
        obj.refresh_from_db()

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        # Shown in the answer itself: a message would pass through a cookie, and a redirect would need it kept.
        context = {
            **self.admin_site.each_context(request),
            "title": _("API key made"),
            "opts": self.opts,
            "original": obj,
            "key": request.created_api_key,  # type: ignore[attr-defined]
            "next": change_url(obj),
        }
        return TemplateResponse(request, "admin/recommender/api_key_created.html", context)

    def list_possible_actions(self, obj: ApiKey) -> Iterable[str]:
        return self.actions_detail if obj.revoked_at is None else ()

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
            facts=[(_("Key"), api_key), (_("Made"), api_key.created_at)],
            dangerous=True,
        )
        return confirm_and_do(model_admin=self, request=request, obj=api_key, confirmation=confirmation, act=act)
