"""The people who buy."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from recommender.admin.base import ReadOnlyMixin, TableAdmin, change_url
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.long_lists import PrefixSearchMixin
from recommender.jobs import start_job
from recommender.models import Erasure, Job, Shopper


@admin.register(Shopper)
class ShopperAdmin(PrefixSearchMixin, TableAdmin):
    list_display = ("shopper_id", "joined_at", "opted_out")
    list_filter = ("opted_out", "joined_at")
    list_disable_select_all = True  # there may be millions
    search_fields = ("shopper_id__startswith",)
    search_help_text = _("The beginning of a shopper id.")
    ordering = ("-pk",)
    sortable_by = ("shopper_id", "joined_at")  # what an index serves
    fields = ("shopper_id", "joined_at", "opted_out", "attributes")
    actions_detail = ("erase",)

    @action(description=_("Erase"), permissions=["recommender.erase_shopper"], icon="person_remove")
    def erase(self, request: HttpRequest, object_id: str) -> HttpResponse:
        shopper = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            # The job knows the row's key alone: it outlives the shopper.
            job = start_job(
                kind=Job.Kind.ERASE,
                key=f"erase:{shopper.pk}",
                arguments={"shopper": shopper.pk},
                started_by=request.user,  # type: ignore[arg-type]
            )
            return Outcome(gettext("The shopper is being erased."), change_url(job))

        confirmation = Confirmation(
            title=gettext("Erase a shopper"),
            text=gettext(
                "All that the site holds of the shopper is deleted, in every table, snapshot and upload. Models that "
                "learned from them are retired, and another is trained; published lists of others stay. It cannot be "
                "undone."
            ),
            button=gettext("Erase for ever"),
            facts=[(gettext("Shopper"), shopper)],
            dangerous=True,
        )
        return confirm_and_do(model_admin=self, request=request, obj=shopper, confirmation=confirmation, act=act)


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("erased_at", "erased_by", "identifier_hash")
    list_select_related = ("erased_by",)
    search_fields = ("identifier_hash",)
    search_help_text = _("The digest of an identifier.")
    ordering = ("-pk",)
    fields = ("identifier_hash", "erased_at", "erased_by", "removed", "snapshots", "retired_models")
