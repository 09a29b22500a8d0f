"""Runs: looked at, approved or rejected, published."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from recommender.admin.base import ReadOnlyMixin, TableAdmin, change_url, link_to
from recommender.admin.bulk_review import BulkReviewMixin
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import count_of, percent_of, uses_of
from recommender.admin.run_budget import RunBudgetMixin
from recommender.admin.run_corrections import RunCorrectionsMixin, refuse_meanwhile
from recommender.admin.run_review import describe_difference, describe_review, read_checks
from recommender.admin.run_shoppers import RunShoppersMixin
from recommender.admin.summed_up import show_figures
from recommender.models import Job, Publication, Run, RunShard, Shop
from recommender.services.summaries import RunChecks
from recommender.wording import gettext as _
from recommender.wording import ngettext

STATE_LABELS = {
    Run.State.COMPUTING: "info",
    Run.State.DRAFTED: "warning",
    Run.State.REJECTED: "danger",
    Run.State.APPROVED: "primary",
    Run.State.PUBLISHED: "success",
    Run.State.SUPERSEDED: "default",
    Run.State.ROLLED_BACK: "default",
}

#: What can be done with a run in each state.
ACTIONS = {
    Run.State.COMPUTING: ("score_again",),
    Run.State.DRAFTED: ("approve", "correct", "reject"),
    Run.State.APPROVED: ("publish", "publish_later", "correct", "reject"),
    Run.State.PUBLISHED: ("roll_back",),
}


class PublishForm(forms.Form):
    """Names the publication that the page compared with, 0 for none: what came after it is not replaced unseen."""

    live_seen = forms.IntegerField(required=False, widget=forms.HiddenInput())


class AcceptanceMixin(forms.Form):
    """Publishing needs somebody's word where a guardrail warns."""

    accepted = forms.BooleanField(
        label=gettext_lazy("I have read the warnings and publish all the same"), widget=UnfoldBooleanWidget()
    )


class PublishLaterForm(PublishForm):
    publish_at = forms.DateTimeField(
        label=gettext_lazy("Publish at"), widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = Shop.current().zone
        self.fields["publish_at"].help_text = _("By the shop's clock (%(zone)s).") % {"zone": self.zone.key}

    def clean_publish_at(self) -> datetime:
        moment: datetime = timezone.make_naive(self.cleaned_data["publish_at"]).replace(tzinfo=self.zone)
        if moment <= timezone.now():
            raise forms.ValidationError(_("This moment is past."))
        return moment


@admin.register(Run)
class RunAdmin(ReadOnlyMixin, BulkReviewMixin, RunCorrectionsMixin, RunShoppersMixin, RunBudgetMixin, TableAdmin):
    list_display = (
        "__str__",
        "state_label",
        "model_version",
        "as_of",
        "shopper_count",
        "recommendation_count",
        "expected_uses",
        "created_at",
        "created_by",
    )
    list_select_related = ("campaign", "model_version", "created_by")
    list_filter = ("state", "created_at")
    search_fields = ("id__exact", "campaign__campaign_id__exact", "campaign__name")
    change_form_outer_before_template = "admin/recommender/run/review.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("campaign", "state"),
                    ("model_version", "snapshot"),
                    ("as_of", "top"),
                    ("scored_pairs", "tried_lists"),
                    ("shopper_count", "recommendation_count"),
                    "left_out_shoppers",
                    ("expected_interval", "job"),
                    ("created_at", "created_by"),
                    ("reviewed_at", "reviewed_by"),
                )
            },
        ),
    )
    readonly_fields = ("expected_interval", "scored_pairs", "tried_lists", "left_out_shoppers")
    actions = ("approve_chosen", "reject_chosen")
    actions_detail = ("score_again", "approve", "publish", "publish_later", "correct", "roll_back", "reject")

    @display(description=gettext_lazy("state"), ordering="state", label=STATE_LABELS)
    def state_label(self, run: Run) -> tuple[str, str]:
        return run.state, run.get_state_display()

    @display(description=gettext_lazy("expected redemptions"), ordering="expected_redemptions")
    def expected_uses(self, run: Run) -> str | None:
        return None if run.expected_redemptions is None else uses_of(run.expected_redemptions)

    @display(description=gettext_lazy("scored"))
    def scored_pairs(self, run: Run) -> str:
        if not run.retrieval:
            return _("every shopper with every coupon")
        stage = run.retrieval["first_stage"]
        if run.is_allocated:
            told = _(
                "of each shopper the %(kept)s likeliest of %(coupons)s coupons, with %(share)s of what may be given "
                "out when every coupon is scored (95 of 100 times %(low)s to %(high)s, measured on %(shoppers)s "
                "shoppers)"
            )
        else:
            told = _(
                "of each shopper the %(kept)s likeliest of %(coupons)s coupons, with %(share)s of what stands on the "
                "lists when every coupon is scored (95 of 100 times %(low)s to %(high)s, measured on %(shoppers)s "
                "shoppers)"
            )
        return told % {
            "kept": count_of(stage["kept_coupons"]),
            "coupons": count_of(len(run.coupon_ids)),
            "share": percent_of(stage["kept_share"]),
            "low": percent_of(stage["kept_share_low"]),
            "high": percent_of(stage["kept_share_high"]),
            "shoppers": count_of(stage["measured_on"]),
        }

    @display(description=gettext_lazy("tries something"))
    def tried_lists(self, run: Run) -> str:
        if run.exploration is None:
            return _("no")
        return _("on the last place of %(share)s of the lists") % {"share": percent_of(run.exploration["share"], 1)}

    @display(description=gettext_lazy("left out, as sent enough"))
    def left_out_shoppers(self, run: Run) -> str:
        limit = run.contact_limit
        if limit is None:
            return _("nobody: the shop had no limit of campaigns for a shopper")
        told = ngettext(
            "%(count)s shopper, at most %(most)s campaigns within %(days)s days",
            "%(count)s shoppers, at most %(most)s campaigns within %(days)s days",
            limit["left_out"],
        )
        return told % {
            "count": count_of(limit["left_out"]),
            "most": count_of(limit["most"]),
            "days": count_of(limit["days"]),
        }

    @display(description=gettext_lazy("expected redemptions"))
    def expected_interval(self, run: Run) -> str | None:
        if run.expected_redemptions is None:
            return None
        expected = uses_of(run.expected_redemptions)
        if run.expected_low is None or run.expected_high is None:
            return _("about %(expected)s uses") % {"expected": expected}
        told = _("about %(expected)s uses, 90 of 100 times between %(low)s and %(high)s") % {
            "expected": expected,
            "low": count_of(run.expected_low),
            "high": count_of(run.expected_high),
        }
        if run.model_version.training_positives:
            return told
        return _("%(told)s. No past campaign has taught anything yet: this rests on purchases alone.") % {"told": told}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is not None and self.has_view_permission(request, run):
            extra_context = {
                **(extra_context or {}),
                **describe_review(request, run),
                "state_variant": STATE_LABELS[Run.State(run.state)],
            }
        return super().change_view(request, object_id, form_url, extra_context)

    def list_possible_actions(self, obj: Run) -> Iterable[str]:
        if obj.state == Run.State.COMPUTING and _refuse_to_score_again(obj) is not None:
            return ()
        return () if obj.find_correction_job() is not None else ACTIONS.get(Run.State(obj.state), ())

    def refuse_action(self, request: HttpRequest, obj: Run, name: str) -> str | None:
        if name != "approve" or obj.may_be_approved_by(request.user):  # type: ignore[arg-type]
            return None
        return _("You started run %(run)s, so somebody else has to approve it.") % {"run": obj.pk}

    @action(
        description=gettext_lazy("Score again what failed"),
        permissions=["recommender.start_job"],
        icon="refresh",
        variant=ActionVariant.PRIMARY,
    )
    def score_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            from recommender.jobs import start_job

            job = start_job(
                kind=Job.Kind.RECOMMEND,
                key=f"recommend:run:{run.pk}",
                arguments={"run": run.pk},
                started_by=request.user,  # type: ignore[arg-type]
            )
            return Outcome(
                _("What failed of run %(run)s is being scored again.") % {"run": run.pk}, url=change_url(job)
            )

        failed = run.shards.filter(state=RunShard.State.FAILED)
        confirmation = Confirmation(
            title=_("Score again what failed"),
            text=_("What was scored stays. Do this when the cause is gone: each shard is tried as often as at first."),
            button=_("Score again"),
            facts=[(_("Run"), run), (_("Shards that failed"), count_of(failed.count()))],
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=run,
            refusal=_refuse(run, "score_again") or _refuse_to_score_again(run),
            confirmation=confirmation,
            act=act,
        )

    @action(
        description=gettext_lazy("Approve"),
        permissions=["recommender.review_run"],
        icon="check",
        variant=ActionVariant.PRIMARY,
    )
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            from recommender.services.runs import approve_run

            approve_run(run=run, reviewed_by=request.user)  # type: ignore[arg-type]
            return Outcome(_("Run %(run)s is approved and can be published.") % {"run": run.pk})

        confirmation = Confirmation(
            title=_("Approve this run"),
            text=_("It can be published then. Shoppers see nothing of it yet."),
            button=_("Approve"),
            facts=_facts(run),
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=run,
            refusal=_refuse(run, "approve") or self.refuse_action(request, run, "approve"),
            confirmation=confirmation,
            act=act,
        )

    @action(
        description=gettext_lazy("Reject"),
        permissions=["recommender.review_run"],
        icon="close",
        variant=ActionVariant.DANGER,
    )
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            from recommender.services.runs import reject_run

            reject_run(run=run, reviewed_by=request.user)  # type: ignore[arg-type]
            return Outcome(_("Run %(run)s is rejected.") % {"run": run.pk})

        confirmation = Confirmation(
            title=_("Reject this run"),
            text=_("It can never be published. Its lists stay on record."),
            button=_("Reject"),
            facts=_facts(run),
            dangerous=True,
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=run,
            refusal=_refuse(run, "reject"),
            confirmation=confirmation,
            act=act,
        )

    @action(
        description=gettext_lazy("Publish"),
        permissions=["recommender.publish_run"],
        icon="campaign",
        variant=ActionVariant.PRIMARY,
    )
    def publish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self.get_viewable(request, object_id)

        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.services.publishing import publish

            publication = publish(
                run=run,
                published_by=request.user,  # type: ignore[arg-type]
                live_seen=data["live_seen"],
            )
            if publication.published_by not in (None, request.user):
                return Outcome(_say_live_already(publication))
            return Outcome(_("Run %(run)s is live.") % {"run": run.pk})

        return self._confirm_publishing(
            request,
            run,
            name="publish",
            title=_("Publish this run"),
            text=_("Shoppers of the campaign are shown these lists at once. It can be rolled back."),
            button=_("Publish"),
            act=act,
            form_class=PublishForm,
        )

    @action(
        description=gettext_lazy("Publish at a set time"),
        permissions=["recommender.publish_run"],
        icon="schedule",
    )
    def publish_later(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self.get_viewable(request, object_id)

        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.jobs import start_job

            job = start_job(
                kind=Job.Kind.PUBLISH,
                key=f"publish:{run.pk}",
                arguments={"run": run.pk, "live_seen": data["live_seen"]},
                started_by=request.user,  # type: ignore[arg-type]
                not_before=data["publish_at"],
            )
            moment = date_format(timezone.localtime(job.not_before, Shop.current().zone), "DATETIME_FORMAT")
            return Outcome(
                _("Run %(run)s goes live at %(moment)s.") % {"run": run.pk, "moment": moment}, url=change_url(job)
            )

        return self._confirm_publishing(
            request,
            run,
            name="publish_later",
            title=_("Publish this run at a set time"),
            text=_(
                "Until then its job waits, and cancelling the job calls it off. It publishes nothing if the campaign "
                "shows something else by then than now."
            ),
            button=_("Publish then"),
            act=act,
            form_class=PublishLaterForm,
        )

    def _confirm_publishing(
        self,
        request: HttpRequest,
        run: Run,
        *,
        name: str,
        title: str,
        text: str,
        button: str,
        act: Callable[[Mapping[str, Any]], Outcome],
        form_class: type[PublishForm],
    ) -> HttpResponse:
        """Say what changes for how many shoppers; what a guardrail forbids is not asked, what it warns of is ticked."""
        from recommender.services.publishing import refuse_beside_experiment

        refusal, facts = _refuse(run, name), _facts(run)
        if refusal is None and name == "publish":
            refusal = refuse_beside_experiment(campaign_key=run.campaign_id)
        live = Publication.objects.live().filter(campaign=run.campaign_id).first()
        checks = None
        if refusal is None:
            checks = read_checks(show_figures(RunChecks(run)))
            if checks is None:
                refusal = _("The run is being compared with what is live. Publish it when that is done.")
        if checks is not None:
            broken = [finding for finding in checks.findings if not finding.kept]
            refusal = " ".join(finding.broken for finding in broken if finding.forbids) or None
            facts += [(_("Warning"), finding.broken) for finding in broken]
            facts += describe_difference(checks.difference)
            if broken:
                form_class = type("AcceptingForm", (AcceptanceMixin, form_class), {})
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=run,
            refusal=refusal,
            confirmation=Confirmation(title=title, text=text, button=button, facts=facts),
            act=act,
            form_class=form_class,
            initial={"live_seen": live.pk if live is not None else 0},
        )

    @action(
        description=gettext_lazy("Roll back"),
        permissions=["recommender.publish_run"],
        icon="undo",
        variant=ActionVariant.DANGER,
    )
    def roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the campaign's page that asks: it says what is shown then."""
        run = self.get_viewable(request, object_id)
        return redirect(reverse("admin:recommender_campaign_roll_back", args=[run.campaign_id]))


@admin.register(RunShard)
class RunShardAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("run", "number", "state", "attempts", "claimed_at", "error")
    list_select_related = ("run__campaign",)
    list_filter = ("state",)
    search_fields = ("run__id__exact", "error")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RunShard]:
        shards = super().get_queryset(request)
        listed = request.resolver_match and request.resolver_match.url_name == "recommender_runshard_changelist"
        return shards.defer("shopper_ids") if listed else shards


def tabulate_runs(runs: Iterable[Run]) -> list[dict[str, object]]:
    """Runs as ``runs_table.html`` shows them."""
    return [
        {
            "run": run,
            "link": link_to(run),
            "variant": STATE_LABELS[Run.State(run.state)],
            "shoppers": count_of(run.shopper_count),
            "expected": "" if run.expected_redemptions is None else uses_of(run.expected_redemptions),
        }
        for run in runs
    ]


def _refuse(run: Run, name: str) -> str | None:
    """Why an action cannot be done with a run as it is now; None where it can."""
    if name in ACTIONS.get(Run.State(run.state), ()):
        return refuse_meanwhile(run)
    if name == "publish" and run.state == Run.State.PUBLISHED:
        publication = Publication.objects.live().select_related("published_by").filter(run=run).first()
        if publication is not None and publication.published_by is not None:
            return _say_live_already(publication)
    return _("This cannot be done with run %(run)s: its state is “%(state)s”.") % {
        "run": run.pk,
        "state": run.get_state_display(),
    }


def _refuse_to_score_again(run: Run) -> str | None:
    if run.job is not None and not run.job.is_finished:
        return _("Run %(run)s is being computed.") % {"run": run.pk}
    if run.is_allocated and run.allocated_at is None:  # its shards may all be done, and what failed is to share out
        return None
    if not run.shards.filter(state=RunShard.State.FAILED).exists():
        return _("Nothing of run %(run)s failed.") % {"run": run.pk}
    return None


def _say_live_already(publication: Publication) -> str:
    return _("Run %(run)s is live already: %(user)s published it.") % {
        "run": publication.run_id,
        "user": publication.published_by,
    }


def _facts(run: Run) -> list[tuple[str, object]]:
    return [
        (_("Run"), run),
        (_("Model version"), run.model_version),
        (_("Shoppers"), count_of(run.shopper_count)),
        (_("Recommendations"), count_of(run.recommendation_count)),
    ]
