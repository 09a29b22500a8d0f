"""With what the shop signs its shoppers' tokens."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from recommender.admin.base import TableAdmin
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.secrets import show_secret
from recommender.models import TokenSigner
from recommender.wording import gettext as _

NEEDED = {TokenSigner.Kind.KEY_SET_ADDRESS: "key_set_address", TokenSigner.Kind.KEY_SET: "key_set"}


class TokenSignerForm(forms.ModelForm):
    class Meta:
        model = TokenSigner
        fields = ("name", "kind", "issuer", "key_set_address", "key_set")

    def clean(self) -> dict[str, Any]:
        """Make the signer, so that the form can say where it is wrong; nothing is written if it says so."""
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        needed = NEEDED.get(cleaned["kind"])
        for name in NEEDED.values():
            if name == needed and not cleaned.get(name):
                self.add_error(name, _("This kind needs it."))
            elif name != needed and cleaned.get(name):
                self.add_error(name, _("This kind does not use it. Leave it empty."))
        return cleaned

    def _post_clean(self) -> None:
        """The row is made by the service, which seals its secret: there is nothing to check of an instance."""
        if self.errors:
            return
        from recommender.services.shopper_tokens import SignerRefused, check_signer

        try:
            check_signer(
                kind=TokenSigner.Kind(self.cleaned_data["kind"]),
                issuer=self.cleaned_data["issuer"],
                key_set_address=self.cleaned_data["key_set_address"],
                key_set=self.cleaned_data["key_set"],
            )
        except SignerRefused as refusal:
            self.add_error(refusal.field, ValidationError(str(refusal)))


@admin.register(TokenSigner)
class TokenSignerAdmin(TableAdmin):
    """A signer is made and revoked, never changed, and its row stays as a record."""

    form = TokenSignerForm
    list_display = ("name", "kind", "issuer", "is_usable", "created_at", "created_by", "revoked_at")
    list_select_related = ("created_by",)
    list_filter = ("revoked_at", "kind")
    search_fields = ("name", "issuer")
    actions_detail = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: TokenSigner | None = None) -> tuple[str, ...]:
        fields = ("name", "kind", "issuer", "key_set_address", "key_set")
        return fields if obj is None else (*fields, "fetched_at", "asked_at", "created_at", "created_by", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: TokenSigner | None = None) -> tuple[str, ...]:
        return () if obj is None else self.get_fields(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: TokenSigner | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: TokenSigner | None = None) -> bool:
        return False

    @display(description=gettext_lazy("usable"), boolean=True)
    def is_usable(self, signer: TokenSigner) -> bool:
        return signer.revoked_at is None

    def save_model(self, request: HttpRequest, obj: TokenSigner, form: forms.ModelForm, change: bool) -> None:
        from recommender.services.shopper_tokens import create_signer

        row, request.created_secret = create_signer(  # type: ignore[attr-defined]
            name=form.cleaned_data["name"],
            kind=TokenSigner.Kind(form.cleaned_data["kind"]),
            issuer=form.cleaned_data["issuer"],
            key_set_address=form.cleaned_data["key_set_address"],
            key_set=form.cleaned_data["key_set"],
            created_by=request.user,  # type: ignore[arg-type]
        )
        obj.pk = row.pk
        obj.refresh_from_db()

    def response_add(
        self, request: HttpRequest, obj: TokenSigner, post_url_continue: str | None = None
    ) -> HttpResponse:
        secret: str = request.created_secret  # type: ignore[attr-defined]
        if not secret:
            return super().response_add(request, obj, post_url_continue)
        return show_secret(
            model_admin=self,
            request=request,
            obj=obj,
            title=_("Signer made"),
            secret=secret,
            usage=_("The shop's server signs its shoppers' tokens with it by HS256, and shows it to nobody."),
        )

    def list_possible_actions(self, obj: TokenSigner) -> Iterable[str]:
        return self.actions_detail if obj.revoked_at is None else ()

    @action(
        description=gettext_lazy("Revoke"),
        permissions=["recommender.change_tokensigner"],
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        signer = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            from recommender.services.shopper_tokens import revoke_signer

            revoke_signer(signer=signer, at=timezone.now())
            return Outcome(_("%(signer)s is revoked.") % {"signer": signer})

        confirmation = Confirmation(
            title=_("Revoke this signer"),
            text=_("Its tokens open nothing from now on, those that shoppers hold too. It cannot be undone."),
            button=_("Revoke"),
            facts=[(_("Signer"), signer), (_("Made"), signer.created_at)],
            dangerous=True,
        )
        return confirm_and_do(model_admin=self, request=request, obj=signer, confirmation=confirmation, act=act)
