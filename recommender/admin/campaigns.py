"""Campaigns, who was sent them, and what they show."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Field, Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from recommender.admin.base import LabelledInline, TableAdmin, change_url, changelist_url, link_to
from recommender.admin.campaign_calendar import describe_calendar
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import amount_of, count_of, percent_of
from recommender.admin.long_lists import MOST_COUNTED, IdentifierSearchMixin, is_long
from recommender.admin.remarks import RemarksMixin
from recommender.admin.results import ResultsMixin
from recommender.admin.runs import tabulate_runs
from recommender.admin.summed_up import Shown, show_figures
from recommender.models import (
    Campaign,
    CampaignCoupon,
    CampaignSegment,
    CampaignShopper,
    Experiment,
    Job,
    Product,
    Publication,
    Run,
    Shop,
)
from recommender.models.campaigns import MOST_EXPLORED, MOST_HELD_OUT
from recommender.services.budgeting import MOST_RETURN, find_floors, left_of_campaign
from recommender.services.contact import ContactLimit
from recommender.services.reporting import CampaignUses
from recommender.services.summaries import UsesOfCampaigns
from recommender.wording import gettext as _

LATEST_RUNS = 5


class CampaignCouponInline(LabelledInline):
    model = CampaignCoupon
    verbose_name = gettext_lazy("coupon")
    verbose_name_plural = gettext_lazy("coupons")
    autocomplete_fields = ("coupon",)
    ordering = ("pk",)
    extra = 0
    per_page = 20  # a campaign may have thousands


class CampaignSegmentInline(LabelledInline):
    model = CampaignSegment
    verbose_name = gettext_lazy("segment")
    verbose_name_plural = gettext_lazy("segments")
    autocomplete_fields = ("segment",)
    ordering = ("pk",)
    extra = 0


class RecommendForm(forms.Form):
    top = forms.IntegerField(
        label=gettext_lazy("Coupons a shopper"),
        min_value=1,
        max_value=100,
        initial=10,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    objective = forms.ChoiceField(
        label=gettext_lazy("Bring the most"),
        choices=Run.Objective.choices,
        required=False,
        help_text=gettext_lazy(
            "What all lists together are to bring the most of. Revenue is what is paid after the discount, margin is "
            "that without what the goods cost, and incremental margin leaves out what would have been earned anyway: "
            "it takes campaigns of which shoppers were held out. Without any budget, limit, return or rule of the "
            "campaign, redemptions give each shopper the likeliest coupons."
        ),
        widget=UnfoldAdminSelectWidget(),
    )
    budget = forms.DecimalField(
        label=gettext_lazy("Budget"),
        max_digits=14,
        decimal_places=3,
        required=False,
        help_text=gettext_lazy(
            "No more than this is expected to be given in discounts. Empty: what the campaign has left of its budget, "
            "or no budget if it has none. What coupons have left of theirs is kept to in any case."
        ),
        widget=UnfoldAdminDecimalFieldWidget(),
    )
    required_return = forms.DecimalField(
        label=gettext_lazy("Required return"),
        max_digits=12,
        decimal_places=6,
        max_value=MOST_RETURN,
        required=False,
        help_text=gettext_lazy(
            "So much of what is to be brought for each unit of money that is expected to be given, over all lists "
            "together. For a margin of at least twice the discounts, 2. Empty: whatever is worth it."
        ),
        widget=UnfoldAdminDecimalFieldWidget(),
    )
    #: Whose budget it is; set by the class that a page makes of this one.
    campaign: Campaign

    def clean_objective(self) -> str:
        from recommender.services.new_uses import refuse_incremental_margin

        objective: str = self.cleaned_data["objective"] or Run.Objective.REDEMPTIONS.value
        if objective == Run.Objective.INCREMENTAL_MARGIN and (refusal := refuse_incremental_margin(at=timezone.now())):
            raise forms.ValidationError(refusal)
        if objective == Run.Objective.MARGIN and not Product.objects.filter(cost__isnull=False).exists():
            raise forms.ValidationError(
                _("Of no product it is known what it costs. Load the costs, or choose something else.")
            )
        return objective

    def clean_budget(self) -> Decimal | None:
        budget: Decimal | None = self.cleaned_data["budget"]
        if budget is not None and budget <= 0:
            raise forms.ValidationError(_("A budget is above 0. Leave it empty for none."))
        left = left_of_campaign(self.campaign)
        if left is not None and left <= 0:
            raise forms.ValidationError(_("Nothing is left of the campaign's budget. Raise that first."))
        if budget is None:
            return None
        if left is not None and budget > left:
            raise forms.ValidationError(
                _("The campaign has %(left)s of its budget left. Raise that first, or choose no more.")
                % {"left": amount_of(left)}
            )
        return budget

    def clean_required_return(self) -> Decimal | None:
        required: Decimal | None = self.cleaned_data["required_return"]
        if required is not None and required <= 0:
            raise forms.ValidationError(_("A return is above 0. Leave it empty for none."))
        return required


class RollbackForm(forms.Form):
    """Names the publication that the page showed: a second answer must not roll back what came after the first."""

    live = forms.IntegerField(widget=forms.HiddenInput())


class DuplicateForm(forms.Form):
    campaign_id = forms.CharField(label=gettext_lazy("Identifier"), max_length=64, widget=UnfoldAdminTextInputWidget())
    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=300, required=False, widget=UnfoldAdminTextInputWidget()
    )
    starts_at = forms.DateTimeField(
        label=gettext_lazy("Starts"),
        help_text=gettext_lazy("By the shop's clock. It lasts as long as the other."),
        widget=UnfoldAdminTextInputWidget({"type": "datetime-local"}),
    )


@admin.register(Campaign)
class CampaignAdmin(RemarksMixin, ResultsMixin, TableAdmin):
    list_display = ("campaign_id", "name", "kind", "starts_at", "ends_at", "is_running")
    list_filter = ("kind", "starts_at")
    search_fields = ("campaign_id__startswith", "name")
    ordering = ("-starts_at",)
    fieldsets = (
        (gettext_lazy("The campaign"), {"fields": ("name", ("campaign_id", "kind"))}),
        (gettext_lazy("When and for how much"), {"fields": ("starts_at", "ends_at", "budget", "sale_event")}),
        (gettext_lazy("What a list looks like"), {"fields": ("one_per_category", "seller_floor_percent")}),
        (
            gettext_lazy("For whom"),
            {
                "fields": (("holdout_percent", "exploration_percent"),),
                "description": gettext_lazy(
                    "Whoever is in any of the segments below and in none that is excluded; without segments everyone. "
                    "A list that the shop gave comes before both. Who is held out is drawn when recommendations are "
                    "computed, and stays once something was published."
                ),
            },
        ),
    )
    autocomplete_fields = ("sale_event",)
    inlines = (CampaignSegmentInline, CampaignCouponInline)
    change_form_outer_before_template = "admin/recommender/campaign_runs.html"
    actions_detail = ("recommend", "duplicate", "roll_back", "results")

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "holdout_percent":  # “at most 90” says more than “at most 2 digits before the point”
            kwargs |= {"min_value": 0, "max_value": MOST_HELD_OUT, "max_digits": None}
        if db_field.name == "exploration_percent":
            kwargs |= {"min_value": 0, "max_value": MOST_EXPLORED, "max_digits": None}
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        from recommender.services.campaigns import propose_campaign

        return propose_campaign(now=timezone.now()) | super().get_changeform_initial_data(request)

    def find_remarks(self, obj: Campaign) -> list[str]:
        from recommender.services.remarks import remark_on_campaign

        return remark_on_campaign(campaign=obj, now=timezone.now())

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.calendar)
        return [path("calendar/", view, name="recommender_campaign_calendar"), *super().get_urls()]

    def calendar(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "opts": self.opts, **describe_calendar(request)}
        return TemplateResponse(request, "admin/recommender/campaign_calendar.html", context)

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
        return self.actions_detail if _find_live(obj) else ("recommend", "duplicate", "results")

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

            arguments = {
                "campaign": campaign.pk,
                "top": data["top"],
                "objective": data["objective"],
                **{name: str(data[name]) for name in ("budget", "required_return") if data[name] is not None},
            }
            job = start_job(
                kind=Job.Kind.RECOMMEND,
                key=f"recommend:{campaign.pk}",
                arguments=arguments,
                started_by=request.user,  # type: ignore[arg-type]
            )
            if job.arguments != arguments:
                raise ValueError(
                    _(
                        "Nothing was started: recommendations of this campaign are being computed already, with other "
                        "choices (job %(job)s). Wait until they are done, or cancel that job."
                    )
                    % {"job": job.pk}
                )
            return Outcome(_("The recommendations are being computed."), url=change_url(job))

        coupons = campaign.campaign_coupons.count()
        confirmation = Confirmation(
            title=_("Compute recommendations"),
            text=_("The champion scores the campaign's coupons for its shoppers. Shoppers see nothing before review."),
            button=_("Recommend"),
            facts=[
                (_("Campaign"), campaign),
                (_("Coupons"), count_of(coupons)),
                *((_("Worth a second look"), remark) for remark in _say_what_is_in_vain(campaign, coupons)),
                *_foresee(campaign),
                *_say_what_is_left(campaign),
                *((_("Kept to"), rule) for rule in _list_rules(campaign)),
            ],
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=campaign,
            confirmation=confirmation,
            act=act,
            form_class=type("RecommendFormOfCampaign", (RecommendForm,), {"campaign": campaign}),
            initial={name: request.GET[name] for name in RecommendForm.base_fields if request.GET.get(name)},
        )

    @action(description=gettext_lazy("Duplicate"), permissions=["recommender.add_campaign"], icon="content_copy")
    def duplicate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        from recommender.services.campaigns import duplicate_campaign, propose_copy

        campaign = self.get_viewable(request, object_id)

        def act(data: Mapping[str, Any]) -> Outcome:
            copy = duplicate_campaign(campaign=campaign, **data)
            self.log_addition(request, copy, _("A copy of %(campaign)s.") % {"campaign": campaign.campaign_id})
            return Outcome(_("The copy %(campaign)s was made.") % {"campaign": copy.campaign_id}, url=change_url(copy))

        proposed = propose_copy(campaign=campaign, now=timezone.now())
        starts_at = timezone.localtime(proposed["starts_at"])  # type: ignore[arg-type]
        confirmation = Confirmation(
            title=_("Duplicate"),
            text=_(
                "A new campaign with the same coupons, segments, budget, rules and held out share. A list of shoppers "
                "that the shop gave is not copied. Nothing is computed or shown before you say so."
            ),
            button=_("Duplicate"),
            facts=[
                (_("Campaign"), campaign),
                (_("Coupons"), count_of(campaign.campaign_coupons.count())),
                (_("Segments"), count_of(campaign.campaign_segments.count())),
            ],
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=campaign,
            confirmation=confirmation,
            act=act,
            form_class=DuplicateForm,
            initial=proposed | {"starts_at": f"{starts_at:%Y-%m-%dT%H:%M}"},
        )

    @action(
        description=gettext_lazy("Roll back"),
        permissions=["recommender.publish_run"],
        icon="undo",
        variant=ActionVariant.DANGER,
    )
    def roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        from recommender.services.publishing import refuse_beside_experiment

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
            refusal=refuse_beside_experiment(campaign_key=campaign.pk)
            or (None if live else _("Nothing of this campaign is live.")),
            confirmation=confirmation,
            act=act,
            form_class=RollbackForm,
            initial={"live": live.pk if live else None},
        )


@admin.register(CampaignCoupon)
class CampaignCouponAdmin(IdentifierSearchMixin, TableAdmin):
    list_display = ("campaign", "coupon")
    list_select_related = ("campaign", "coupon")
    search_fields = ("campaign__campaign_id", "coupon__coupon_id")
    search_help_text = gettext_lazy("A whole campaign id or coupon id.")
    autocomplete_fields = ("campaign", "coupon")


@admin.register(CampaignShopper)
class CampaignShopperAdmin(IdentifierSearchMixin, TableAdmin):
    list_display = ("shopper", "campaign", "group", "origin")
    list_select_related = ("shopper", "campaign")
    list_filter = ("group",)
    list_disable_select_all = True  # a campaign may be for millions
    search_fields = ("shopper__shopper_id", "campaign__campaign_id")
    search_help_text = gettext_lazy("A whole shopper id or campaign id.")
    ordering = ("-campaign", "-shopper")
    sortable_by = ()  # no other index serves
    autocomplete_fields = ("campaign", "shopper")


def _describe_campaign(campaign: Campaign) -> dict[str, Any]:
    """What the top of a campaign's page shows."""
    shown, groups = _count_groups(campaign)
    live = _find_live(campaign)
    runs = campaign.runs.select_related("campaign", "model_version")[:LATEST_RUNS]
    return {
        "live": live,
        "live_link": live and link_to(live.run, _("Run %(run)s") % {"run": live.run_id}),
        "experiment_link": link_to(campaign.experiments.filter(state=Experiment.State.RUNNING).first()),
        "live_shoppers": count_of(live.run.shopper_count if live else 0),
        "live_recommendations": _("%(count)s recommendations")
        % {"count": count_of(live.run.recommendation_count if live else 0)},
        "runs": tabulate_runs(runs),
        "runs_url": changelist_url(Run, {"campaign__id__exact": campaign.pk}),
        "shown": shown,
        "groups": groups,
        "audience": _describe_audience(campaign),
        "shoppers_url": changelist_url(CampaignShopper, {"campaign__id__exact": campaign.pk}),
    }


def _count_groups(campaign: Campaign) -> tuple[Shown[dict[int, CampaignUses]], dict[str, str]]:
    """How many are recorded as sent a campaign and as held out: of a large one as they were summed up last."""
    rows = campaign.campaign_shoppers.all()
    if is_long(rows):
        shown = show_figures(UsesOfCampaigns())
        uses = shown.content.get(campaign.pk) if shown.content is not None else None
        more = _("more than %(count)s") % {"count": count_of(MOST_COUNTED)}
        if uses is None:
            return shown, {"sent": more, "held_out": "–"}
        return shown, {"sent": count_of(uses.listed), "held_out": count_of(uses.held_out)}
    treatment, control = CampaignShopper.Group.TREATMENT, CampaignShopper.Group.CONTROL
    groups = rows.aggregate(sent=Count("pk", filter=Q(group=treatment)), held_out=Count("pk", filter=Q(group=control)))
    return Shown({}), {name: count_of(count) for name, count in groups.items()}


def _describe_audience(campaign: Campaign) -> str:
    """Whom a campaign is for, in words."""
    if campaign.campaign_shoppers.listed_to_be_sent().exists():
        return _("The shoppers that the shop listed")
    chosen = list(campaign.campaign_segments.select_related("segment").order_by("pk"))
    included = ", ".join(str(each.segment) for each in chosen if not each.excluded) or _("Everyone")
    excluded = ", ".join(str(each.segment) for each in chosen if each.excluded)
    return (
        _("%(included)s, without %(excluded)s") % {"included": included, "excluded": excluded} if excluded else included
    )


def _say_what_is_in_vain(campaign: Campaign, coupons: int) -> list[str]:
    """Why nothing can come of computing recommendations, if so."""
    told: list[str] = []
    if campaign.ends_at <= timezone.now():
        told.append(_("The campaign ended on %(day)s.") % {"day": timezone.localdate(campaign.ends_at)})
    if not coupons:
        told.append(_("The campaign has no coupon: there is nothing to recommend."))
    return told


def _foresee(campaign: Campaign) -> list[tuple[str, object]]:
    from recommender.services.assignment import foresee_assignment

    sent, held_out = foresee_assignment(campaign=campaign, at=timezone.now())
    return [
        (_("For"), _describe_audience(campaign)),
        (_("Shoppers, about"), count_of(sent)),
        (_("Held out, about"), count_of(held_out)),
    ]


def _say_what_is_left(campaign: Campaign) -> list[tuple[str, object]]:
    left = left_of_campaign(campaign)
    return [] if left is None else [(_("Left of the campaign's budget"), amount_of(left))]


def _list_rules(campaign: Campaign) -> list[str]:
    """What the lists of a run are made to keep to, besides budgets and limits."""
    rules: list[str] = [_("one coupon of a category on a list")] if campaign.one_per_category else []
    if campaign.seller_floor_percent is not None:
        percent = percent_of(float(campaign.seller_floor_percent) / 100, 2)
        rules.append(_("at least %(percent)s of all places for each seller") % {"percent": percent})
    for floor in find_floors(campaign):
        facts = {"uses": count_of(floor.at_least_uses or 0), "segment": floor.segment}
        rules.append(_("at least %(uses)s expected uses for “%(segment)s”") % facts)
    if (limit := ContactLimit.of(Shop.current())) is not None:
        facts = {"most": count_of(limit.most), "days": count_of(limit.days)}
        rules.append(_("at most %(most)s campaigns within %(days)s days for a shopper") % facts)
    return rules


def _find_live(campaign: Campaign) -> Publication | None:
    live = Publication.objects.live().filter(campaign=campaign)
    return live.select_related("run__campaign", "replaces__run__campaign").first()


def _describe(publication: Publication | None) -> str:
    if publication is None:
        return _("nothing")
    return _("run %(run)s: %(recommendations)s recommendations for %(shoppers)s shoppers") % {
        "run": publication.run_id,
        "recommendations": count_of(publication.run.recommendation_count),
        "shoppers": count_of(publication.run.shopper_count),
    }
