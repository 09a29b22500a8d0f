"""Big sale events: setting one up, and the report of the morning after."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html_join
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display

from recommender.admin.base import TableAdmin, link_to
from recommender.admin.charts import Column, column_chart
from recommender.admin.figures import count_of, in_currency
from recommender.admin.spreadsheet import stream_csv
from recommender.admin.summed_up import show_figures
from recommender.models import SaleEvent, Shop
from recommender.services.sale_event_report import Part, SaleEventReport
from recommender.services.sale_events import PlanRefused, check_plan, plan_hours
from recommender.services.summaries import ResultsOfSaleEvent


class SaleEventForm(forms.ModelForm):
    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            check_plan(event=self.instance, at=timezone.now())
        except PlanRefused as refused:
            self.add_error(refused.field, str(refused))


@admin.register(SaleEvent)
class SaleEventAdmin(TableAdmin):
    form = SaleEventForm
    list_display = ("name", "warm_up_at", "starts_at", "ends_at", "budget", "stage")
    search_fields = ("name",)
    fieldsets = (
        (gettext_lazy("The sale event"), {"fields": ("name", "campaigns_in_it")}),
        (gettext_lazy("When"), {"fields": ("warm_up_at", "starts_at", "ends_at")}),
        (gettext_lazy("For how much"), {"fields": ("budget", "pacing")}),
        (gettext_lazy("What may be used together"), {"fields": ("most_coupons", "most_others")}),
    )
    readonly_fields = ("campaigns_in_it",)
    actions_detail = ("report",)

    @display(description=gettext_lazy("state"))
    def stage(self, event: SaleEvent) -> str:
        now = timezone.now()
        if now < event.warm_up_at:
            return _("to come")
        if now < event.starts_at:
            return _("warm-up")
        return _("on") if now < event.ends_at else _("over")

    @display(description=gettext_lazy("campaigns"))
    def campaigns_in_it(self, event: SaleEvent) -> str:
        if event.pk is None:
            return _("Save it first, then choose it on the page of each campaign.")
        links = format_html_join(", ", "{}", ((link_to(campaign),) for campaign in event.campaigns.order_by("pk")))
        return links or _("None yet: choose it on the page of each campaign.")

    def save_model(self, request: HttpRequest, obj: SaleEvent, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        plan_hours(event=obj, at=timezone.now())

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_report)
        return [
            path("<int:event_id>/report.csv", view, name="recommender_saleevent_report_export"),
            *super().get_urls(),
        ]

    def has_report_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("recommender.view_redemption")

    @action(description=gettext_lazy("Report"), permissions=["report"], icon="monitoring")
    def report(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What came of an event."""
        event = self.get_viewable(request, object_id)
        shown = show_figures(ResultsOfSaleEvent(event))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Report of %(event)s") % {"event": event},
            "opts": self.opts,
            "original": event,
            "shown": shown,
            "export_url": reverse("admin:recommender_saleevent_report_export", args=[event.pk]),
            **(_describe(shown.content) if shown.content is not None else {}),
        }
        return TemplateResponse(request, "admin/recommender/sale_event_report.html", context)

    def export_report(self, request: HttpRequest, event_id: int) -> StreamingHttpResponse | HttpResponse:
        """The report as CSV, in the reader's language."""
        if not self.has_report_permission(request):
            raise PermissionDenied
        event = self.get_viewable(request, str(event_id))
        shown = show_figures(ResultsOfSaleEvent(event))
        if shown.content is None:
            messages.info(request, _("The results are being summed up. Come back for the file in a while."))
            return redirect("admin:recommender_saleevent_report", event.pk)
        return stream_csv(name=f"sale-event-{slugify(event.name) or event.pk}.csv", rows=list(_rows(shown.content)))


def _describe(report: SaleEventReport) -> dict[str, object]:
    """What the template shows of a report."""
    shop = Shop.current()

    def money(amount: Decimal | None) -> str:
        return "" if amount is None else in_currency(amount, shop)

    def tabulate(part: Part) -> list[str]:
        return [count_of(part.shoppers), count_of(part.uses), money(part.spent)]

    hours = [
        {
            "name": _hour_in_words(hour.starts_at),
            "cells": [
                money(hour.planned),
                money(hour.carried),
                money(hour.spent),
                count_of(hour.uses),
                count_of(hour.refused),
            ],
        }
        for hour in report.by_hour
    ]
    return {
        "report": report,
        "uses": count_of(report.total.uses),
        "spent": money(report.total.spent),
        "budget": money(report.event.budget),
        "refused": count_of(report.refused),
        "hours": hours,
        "chart": column_chart(
            [
                Column(
                    label=_hour_in_words(hour.starts_at),
                    value=float(hour.spent),
                    shown=money(hour.spent),
                    url="",
                    before=None if hour.planned is None else float(hour.planned),
                    before_shown=money(hour.planned),
                )
                for hour in report.by_hour
            ]
        ),
        "tiers": [{"name": name or _("of no tier"), "cells": tabulate(part)} for name, part in report.by_tier],
        "campaigns": [
            {
                "name": link_to(campaign),
                "cells": tabulate(part),
                "results_url": reverse("admin:recommender_campaign_results", args=[campaign.pk]),
            }
            for campaign, part in report.by_campaign
        ],
    }


def _hour_in_words(moment: Any) -> str:
    return date_format(timezone.localtime(moment), "DATETIME_FORMAT")


def _rows(report: SaleEventReport) -> Iterator[list[object]]:
    yield [
        *(_("row of"), _("name"), _("planned"), _("carried over"), _("spent"), _("uses"), _("refused"), _("shoppers"))
    ]
    total = report.total
    came = [_plain(report.event.budget), ""]
    yield [_("sale event"), report.event.name, *came, _plain(total.spent), total.uses, report.refused, total.shoppers]
    for hour in report.by_hour:
        name = f"{timezone.localtime(hour.starts_at):%Y-%m-%d %H:%M}"
        came = [_plain(hour.planned), _plain(hour.carried)]
        yield [_("hour"), name, *came, _plain(hour.spent), hour.uses, hour.refused, ""]
    for tier, part in report.by_tier:
        yield [_("tier"), tier or _("of no tier"), "", "", _plain(part.spent), part.uses, "", part.shoppers]
    for campaign, part in report.by_campaign:
        yield [_("campaign"), campaign.campaign_id, "", "", _plain(part.spent), part.uses, "", part.shoppers]


def _plain(amount: Decimal | None) -> object:
    return "" if amount is None else amount.quantize(Decimal("0.001"))
