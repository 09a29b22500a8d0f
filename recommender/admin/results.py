"""What came of campaigns: the list, a campaign's report, and the same as a file."""

from collections.abc import Iterator
from dataclasses import astuple, fields
from decimal import Decimal

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action

from recommender.admin.base import TableAdmin, changelist_url, link_to
from recommender.admin.charts import Column, column_chart
from recommender.admin.figures import count_of, decimal_of, in_currency, share, within_day
from recommender.admin.incrementality import describe_change, rows_of_change
from recommender.admin.spreadsheet import stream_csv
from recommender.admin.summed_up import show_figures
from recommender.models import Campaign, GroupBuy, Redemption, Shop
from recommender.services.reporting import (
    CampaignReport,
    CampaignUses,
    Figures,
    Funnel,
    GroupFigures,
    Groups,
    Money,
    Payer,
)
from recommender.services.summaries import Results, UsesOfCampaigns, WhatChanged

CAMPAIGNS_A_PAGE = 25
COUPONS_SHOWN = 50
PAYERS_SHOWN = 100
DAYS_SHOWN = 92

STAGE_TITLES: dict[str, str | Promise] = {
    "sent": gettext_lazy("Sent"),
    "seen": gettext_lazy("Seen"),
    "clicked": gettext_lazy("Clicked"),
    "claimed": gettext_lazy("Claimed"),
    "redeemed": gettext_lazy("Redeemed"),
}


class ResultsMixin(TableAdmin):
    """The pages of the campaigns' results. They are for who may see campaigns and redemptions."""

    def get_urls(self) -> list[URLPattern]:
        def page(address: str, view: object, name: str) -> URLPattern:
            return path(address, self.admin_site.admin_view(view), name=f"recommender_campaign_{name}")

        return [
            page("results/", self.list_results, "results_list"),
            page("<int:campaign_id>/results.csv", self.export_results, "results_export"),
            page("<int:campaign_id>/what-changed.csv", self.export_change, "change_export"),
            *super().get_urls(),
        ]

    def has_results_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("recommender.view_redemption")

    def list_results(self, request: HttpRequest) -> HttpResponse:
        """The campaigns, the latest first, with what they brought."""
        self._refuse_strangers(request)
        campaigns = Campaign.objects.order_by("-starts_at", "-pk")
        page = Paginator(campaigns, CAMPAIGNS_A_PAGE).get_page(request.GET.get("p"))
        shown = show_figures(UsesOfCampaigns())
        uses = shown.content or {}
        context = {
            **self.admin_site.each_context(request),
            "title": _("Results"),
            "opts": self.opts,
            "page": page,
            "shown": shown,
            "rows": [
                {
                    "campaign": campaign,
                    "url": reverse("admin:recommender_campaign_results", args=[campaign.pk]),
                    "counts": [count_of(count) for count in astuple(uses.get(campaign.pk, CampaignUses()))[:3]]
                    if shown.content is not None
                    else ["", "", ""],
                }
                for campaign in page
            ],
        }
        return TemplateResponse(request, "admin/recommender/results_list.html", context)

    @action(description=gettext_lazy("Results"), permissions=["results"], icon="monitoring")
    def results(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A campaign's report."""
        campaign = self.get_viewable(request, object_id)
        shown = show_figures(Results(campaign))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Results of %(campaign)s") % {"campaign": campaign},
            "opts": self.opts,
            "original": campaign,
            "campaign_link": link_to(campaign),
            "shown": shown,
            "redemptions_url": changelist_url(Redemption, {"campaign__id__exact": campaign.pk}),
            "export_url": reverse("admin:recommender_campaign_results_export", args=[campaign.pk]),
            "change": describe_change(show_figures(WhatChanged(campaign))),
            "change_export_url": reverse("admin:recommender_campaign_change_export", args=[campaign.pk]),
            **(_describe_report(shown.content) if shown.content is not None else {}),
        }
        return TemplateResponse(request, "admin/recommender/results_report.html", context)

    def export_results(self, request: HttpRequest, campaign_id: int) -> StreamingHttpResponse | HttpResponse:
        """The report as CSV: a row for the whole campaign, each coupon, each group of shoppers and each day."""
        self._refuse_strangers(request)
        campaign = self.get_viewable(request, str(campaign_id))
        report = show_figures(Results(campaign)).content
        return self._send(request, campaign, "results", None if report is None else _rows(report))

    def export_change(self, request: HttpRequest, campaign_id: int) -> StreamingHttpResponse | HttpResponse:
        """What the campaign changed, as CSV: a row for each outcome of the whole campaign, each coupon and segment."""
        self._refuse_strangers(request)
        campaign = self.get_viewable(request, str(campaign_id))
        found = show_figures(WhatChanged(campaign)).content
        return self._send(request, campaign, "what-changed", None if found is None else rows_of_change(found))

    def _send(
        self, request: HttpRequest, campaign: Campaign, name: str, rows: Iterator[list[object]] | None
    ) -> StreamingHttpResponse | HttpResponse:
        """A file of rows; back to the page while they are still being summed up."""
        if rows is None:
            messages.info(request, _("The results are being summed up. Come back for the file in a while."))
            return redirect("admin:recommender_campaign_results", campaign.pk)
        return stream_csv(name=f"{name}-{slugify(campaign.campaign_id) or campaign.pk}.csv", rows=rows)

    def _refuse_strangers(self, request: HttpRequest) -> None:
        if not self.has_results_permission(request):
            raise PermissionDenied


def _describe_report(report: CampaignReport) -> dict[str, object]:
    """What the template of a campaign's report shows of its figures."""
    shop = Shop.current()
    return {
        "report": report,
        "stages": _stages(report),
        "money": _describe_money(report.total.money, shop),
        "stage_titles": STAGE_TITLES.values(),
        "coupons": [
            {"name": link_to(coupon), **_tabulate(figures, shop)}
            for coupon, figures in report.by_coupon[:COUPONS_SHOWN]
        ],
        "more_coupons": max(0, len(report.by_coupon) - COUPONS_SHOWN),
        "groups": [{"name": name, **_tabulate(figures, shop)} for name, figures in report.by_group],
        "days": _chart_days(report, shop),
        "payers": [_tabulate_payer(payer, shop) for payer in report.by_payer[:PAYERS_SHOWN]],
        "more_payers": max(0, len(report.by_payer) - PAYERS_SHOWN),
        "paid": in_currency(sum((payer.paid for payer in report.by_payer), Decimal(0)), shop),
        **describe_groups(report.groups, shop),
    }


def _tabulate_payer(payer: Payer, shop: Shop) -> dict[str, str]:
    if payer.seller_id is None:
        name = _("Not recorded, who paid how much")
    elif payer.seller_id == "":
        name = _("The shop")
    else:
        name = f"{payer.name} ({payer.seller_id})" if payer.name else payer.seller_id
    return {"name": name, "uses": count_of(payer.uses), "paid": in_currency(payer.paid, shop)}


def describe_groups(groups: Groups, shop: Shop) -> dict[str, object]:
    """What templates show of groups; nothing of a campaign without any."""
    if not groups.total.started:
        return {}
    shown = groups.by_coupon[:COUPONS_SHOWN]
    return {
        "group_totals": _tabulate_groups(groups.total),
        "group_coupons": [{"name": link_to(coupon), **_tabulate_groups(figures)} for coupon, figures in shown],
        "more_group_coupons": len(groups.by_coupon) - len(shown),
        "group_days": column_chart(
            [
                Column(
                    label=date_format(day),
                    value=started,
                    shown=count_of(started),
                    url=changelist_url(GroupBuy, within_day("opened_at", day, shop)),
                )
                for day, started in groups.by_day[-DAYS_SHOWN:]
            ]
        ),
    }


def _tabulate_groups(figures: GroupFigures) -> dict[str, str]:
    hours = figures.hours_to_fill
    return {
        **{
            name: count_of(getattr(figures, name))
            for name in ("started", "filled", "failed", "open", "members", "invited", "accepted")
        },
        "fill_rate": share(figures.filled, figures.filled + figures.failed),
        "hours_to_fill": "" if hours is None else decimal_of(hours),
        "acceptance": share(figures.accepted, figures.invited),
    }


def _stages(report: CampaignReport) -> list[dict[str, object]]:
    """The funnel, a row a stage."""
    offers, shoppers = report.total.offers, report.shoppers
    rows: list[dict[str, object]] = []
    before = 0
    for name, title in STAGE_TITLES.items():
        count = getattr(offers, name)
        rows.append(
            {
                "title": title,
                "offers": count_of(count),
                "share": share(count, offers.sent),
                "of_before": share(count, before) if before >= count else "",
                "shoppers": count_of(getattr(shoppers, name)),
                "shoppers_share": share(getattr(shoppers, name), shoppers.sent),
                "width": f"{100 * count / offers.sent:.2f}" if offers.sent else "0",
            }
        )
        before = count
    return rows


def _tabulate(figures: Figures, shop: Shop) -> dict[str, object]:
    """Figures as a row of a table shows them."""
    return {
        "counts": [count_of(count) for count in astuple(figures.offers)],
        "rate": share(figures.offers.redeemed, figures.offers.sent),
        **_amounts(figures.money, shop),
    }


def _amounts(money: Money, shop: Shop) -> dict[str, str]:
    """Revenue and discount; an unknown one is no 0."""
    unknown = _("unknown")
    return {
        "revenue": unknown if 0 < money.uses == money.without_order else in_currency(money.revenue, shop),
        "discount": unknown if 0 < money.uses == money.unknown_discounts else in_currency(money.discount, shop),
    }


def _describe_money(money: Money, shop: Shop) -> dict[str, str]:
    return {
        "uses": count_of(money.uses),
        **_amounts(money, shop),
        "without_order": count_of(money.without_order) if money.without_order else "",
        "unknown": count_of(money.unknown_discounts) if money.unknown_discounts else "",
    }


def _chart_days(report: CampaignReport, shop: Shop) -> object:
    """The uses of the first days, as columns that lead to them."""
    days = report.by_day[:DAYS_SHOWN]
    return column_chart(
        [
            Column(
                label=date_format(day.day),
                value=day.redeemed,
                shown=count_of(day.redeemed),
                url=changelist_url(
                    Redemption,
                    {"campaign__id__exact": report.campaign.pk, **within_day("redeemed_at", day.day, shop)},
                ),
            )
            for day in days
        ]
    )


def _rows(report: CampaignReport) -> Iterator[list[object]]:
    stages = [field.name for field in fields(Funnel)]
    yield ["part", "name", *stages, "uses", "revenue", "uses_without_order", "discount", "uses_of_unknown_discount"]
    parts: list[tuple[str, str, Figures]] = [
        ("campaign", report.campaign.campaign_id, report.total),
        *(("coupon", coupon.coupon_id, figures) for coupon, figures in report.by_coupon),
        *(("group", name, figures) for name, figures in report.by_group),
    ]
    for part, name, figures in parts:
        money = figures.money
        revenue, discount = _plain(money.revenue), _plain(money.discount)
        amounts = [money.uses, revenue, money.without_order, discount, money.unknown_discounts]
        yield [part, name, *astuple(figures.offers), *amounts]
    for payer in report.by_payer:
        paid_by = {None: "(not recorded)", "": "(the shop)"}.get(payer.seller_id, payer.seller_id)
        yield ["payer", paid_by, *[""] * len(stages), payer.uses, "", "", _plain(payer.paid), ""]
    for day in report.by_day:
        yield ["day", f"{day.day:%Y-%m-%d}", "", day.seen, day.clicked, day.claimed, day.redeemed, *[""] * 5]


def _plain(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.001"))
