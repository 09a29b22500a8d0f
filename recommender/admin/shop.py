"""The shop's settings and its staff."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Field
from django.forms import ChoiceField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from recommender.admin.base import change_url, link_to
from recommender.admin.history import HistoryMixin
from recommender.models import Shop, User
from recommender.presets import PRESETS

admin.site.unregister(Group)

#: Fields of an account that would let it do more than its groups allow.
GRANTING = ("is_superuser", "user_permissions")


@admin.register(Shop)
class ShopAdmin(HistoryMixin, ModelAdmin):
    """One row: its page stands for the list, and it is neither added nor deleted."""

    fields = (
        *("name", "preset", "preset_files", "time_zone", "currency", "group_page"),
        *("may_approve_own_runs", ("contact_most", "contact_days"), "champion_link"),
    )
    readonly_fields = ("preset_title", "preset_files", "champion_link")
    search_fields = ("name",)
    warn_unsaved_form = True

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "preset":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        titles = [(name, preset.title) for name, preset in PRESETS.items() if preset.title]
        return ChoiceField(
            label=capfirst(db_field.verbose_name),
            choices=[("", _("any other")), *titles],
            required=False,
            help_text=db_field.help_text,
            widget=UnfoldAdminSelectWidget,
        )

    def get_fields(self, request: HttpRequest, obj: Shop | None = None) -> Any:
        """Whoever only looks reads what the kind is called, as those do who may choose it."""
        if self.has_change_permission(request, obj):
            return self.fields
        return tuple("preset_title" if name == "preset" else name for name in self.fields)

    @display(description=_("kind of shop"))
    def preset_title(self, shop: Shop) -> str | Promise:
        preset = PRESETS.get(shop.preset)
        return (preset and preset.title) or _("any other")

    @display(description=_("files of its own"), empty_value="-")
    def preset_files(self, shop: Shop) -> str | None:
        preset = PRESETS.get(shop.preset)
        return ", ".join(preset.files) if preset else None

    @display(description=_("champion"))
    def champion_link(self, shop: Shop) -> str | None:
        return link_to(shop.champion)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Shop | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return redirect(change_url(Shop.current()))


@admin.register(User)
class UserAdmin(HistoryMixin, DjangoUserAdmin, ModelAdmin):
    """Whoever leaves is made inactive. With their row what they did would go, and who approved or published it.

    A superuser may do everything. Only another one makes one, gives out single permissions, or changes a superuser's
    account: its password too would be a way in.
    """

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    show_full_result_count = False
    list_display = ("username", "first_name", "last_name", "email", "is_staff", "is_active", "last_login")
    filter_horizontal = ()  # Django's two boxes side by side are wider than a phone, and their help cannot be read out

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """The form has no other fields than these, so that what is posted besides is not read."""
        fieldsets = super().get_fieldsets(request, obj)
        if request.user.is_superuser:
            return fieldsets
        return [
            (name, {**options, "fields": tuple(field for field in options["fields"] if field not in GRANTING)})
            for name, options in fieldsets
        ]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False


@admin.register(Group)
class GroupAdmin(HistoryMixin, DjangoGroupAdmin, ModelAdmin):
    show_full_result_count = False
