"""Campaigns, who was sent them, and what they show."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from recommender.admin.base import TableAdmin, change_url, changelist_url, link_to
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.results import ResultsMixin
from recommender.admin.runs import tabulate_runs
from recommender.models import Campaign, CampaignCoupon, CampaignShopper, Job, Publication, Run

LATEST_RUNS = 5


class CampaignCouponInline(TabularInline):
    model = CampaignCoupon
    autocomplete_fields = ("coupon",)
    ordering = ("pk",)
    extra = 0
    per_page = 20  # a campaign may have thousands


class RecommendForm(forms.Form):
    top = forms.IntegerField(
        label=gettext_lazy("Coupons a shopper"),
        min_value=1,
        max_value=100,
        initial=10,
        widget=UnfoldAdminIntegerFieldWidget(),
    )


class RollbackForm(forms.Form):
    """Names the publication that the page showed: a second answer must not roll back what came after the first."""

    live = forms.IntegerField(widget=forms.HiddenInput())


@admin.register(Campaign)
class CampaignAdmin(ResultsMixin, TableAdmin):
    list_display = ("campaign_id", "name", "kind", "starts_at", "ends_at", "is_running")
    list_filter = ("kind", "starts_at")
    search_fields = ("campaign_id__startswith", "name")
    ordering = ("-starts_at",)
    inlines = (CampaignCouponInline,)
    change_form_outer_before_template = "admin/recommender/campaign_runs.html"
    actions_detail = ("recommend", "roll_back", "results")

    @display(description=gettext_lazy("running"), boolean=True)
    def is_running(self, campaign: Campaign) -> bool:
        return campaign.starts_at <= timezone.now() < campaign.ends_at

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        campaign = self.get_object(request, object_id)
        if campaign is not None and self.has_view_permission(request, campaign):
            extra_context = {**(extra_context or {}), **_describe_campaign(campaign)}
        return super().change_view(request, object_id, form_url, extra_context)

    def list_possible_actions(self, obj: Campaign) -> Iterable[str]:
        return self.actions_detail if _find_live(obj) else ("recommend", "results")

    @action(
        description=gettext_lazy("Recommend"),
        permissions=["recommender.start_job"],
        icon="play_arrow",
        variant=ActionVariant.PRIMARY,
    )
    def recommend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        campaign = self.get_viewable(request, object_id)

        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.jobs import start_job

            job = start_job(
                kind=Job.Kind.RECOMMEND,
                key=f"recommend:{campaign.pk}",
                arguments={"campaign": campaign.pk, "top": data["top"]},
                started_by=request.user,  # type: ignore[arg-type]
            )
            return Outcome(_("The recommendations are being computed."), url=change_url(job))

        confirmation = Confirmation(
            title=_("Compute recommendations"),
            text=_("The champion scores the campaign's coupons for its shoppers. Shoppers see nothing before review."),
            button=_("Recommend"),
            facts=[(_("Campaign"), campaign), (_("Coupons"), f"{campaign.campaign_coupons.count():,}")],
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=campaign,
            confirmation=confirmation,
            act=act,
            form_class=RecommendForm,
        )

    @action(
        description=gettext_lazy("Roll back"),
        permissions=["recommender.publish_run"],
        icon="undo",
        variant=ActionVariant.DANGER,
    )
    def roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        campaign = self.get_viewable(request, object_id)
        live = _find_live(campaign)

        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.services.publishing import rollback

            with transaction.atomic():
                Campaign.objects.select_for_update().get(pk=campaign.pk)
                now_live = _find_live(campaign)
                if now_live is None or now_live.pk != data["live"]:
                    raise ValueError(_("What the campaign shows has changed meanwhile. Nothing was rolled back."))
                before = rollback(campaign=campaign, by=request.user)  # type: ignore[arg-type]
            if before is None:
                return Outcome(_("Nothing is live any more."))
            return Outcome(_("Run %(run)s is live again.") % {"run": before.run_id})

        before = live.replaces if live else None
        confirmation = Confirmation(
            title=_("Roll back"),
            text=_("Shoppers are shown what was live before, at once."),
            button=_("Roll back"),
            facts=[
                (_("Campaign"), campaign),
                (_("Live now"), _describe(live)),
                (_("Live afterwards"), _describe(before)),
            ],
            dangerous=True,
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=campaign,
            confirmation=confirmation,
            act=act,
            form_class=RollbackForm,
            initial={"live": live.pk if live else None},
        )


@admin.register(CampaignCoupon)
class CampaignCouponAdmin(TableAdmin):
    list_display = ("campaign", "coupon")
    list_select_related = ("campaign", "coupon")
    search_fields = ("campaign__campaign_id__exact", "coupon__coupon_id__startswith")
    autocomplete_fields = ("campaign", "coupon")


@admin.register(CampaignShopper)
class CampaignShopperAdmin(TableAdmin):
    list_display = ("shopper", "campaign", "group")
    list_select_related = ("shopper", "campaign")
    list_filter = ("group",)
    search_fields = ("shopper__shopper_id__exact", "campaign__campaign_id__exact")
    autocomplete_fields = ("campaign", "shopper")


def _describe_campaign(campaign: Campaign) -> dict[str, Any]:
    """What the top of a campaign's page shows."""
    treatment, control = CampaignShopper.Group.TREATMENT, CampaignShopper.Group.CONTROL
    groups = campaign.campaign_shoppers.aggregate(
        sent=Count("pk", filter=Q(group=treatment)), held_out=Count("pk", filter=Q(group=control))
    )
    live = _find_live(campaign)
    runs = campaign.runs.select_related("campaign", "model_version")[:LATEST_RUNS]
    return {
        "live": live,
        "live_link": live and link_to(live.run, _("Run %(run)s") % {"run": live.run_id}),
        "live_shoppers": f"{live.run.shopper_count if live else 0:,}",
        "live_recommendations": _("%(count)s recommendations")
        % {"count": f"{live.run.recommendation_count if live else 0:,}"},
        "runs": tabulate_runs(runs),
        "runs_url": changelist_url(Run, {"campaign__id__exact": campaign.pk}),
        "groups": {name: f"{count:,}" for name, count in groups.items()},
        "shoppers_url": changelist_url(CampaignShopper, {"campaign__id__exact": campaign.pk}),
    }


def _find_live(campaign: Campaign) -> Publication | None:
    live = Publication.objects.live().filter(campaign=campaign)
    return live.select_related("run__campaign", "replaces__run__campaign").first()


def _describe(publication: Publication | None) -> str:
    if publication is None:
        return _("nothing")
    return _("run %(run)s: %(recommendations)s recommendations for %(shoppers)s shoppers") % {
        "run": publication.run_id,
        "recommendations": f"{publication.run.recommendation_count:,}",
        "shoppers": f"{publication.run.shopper_count:,}",
    }
