"""How long the pages of the staff desk take in a large shop beside a small one. Run by name:

    python -m tests.load.page_times --write docs/page-times.md

Both shops lie in one real PostgreSQL. Each page is asked for through Django's test client by a superuser, in the small
shop and the large one by turns; its time is the median of several such requests after one that warms up. A page that is
over is measured once more, by three times as many requests.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers import run_postgres

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpResponse
    from django.test import Client

SHOPS = ("small", "large")
BEGIN, END = "<!-- page times: begin -->", "<!-- page times: end -->"
#: What a page of the large shop may take, in times of the same page of the small one.
MOST = 1.5
#: What is searched for in the list of a model, with as many found on the page in both shops; in the others, something
#: that is not there.
SEARCHES = {
    "shopper": "S5",
    "product": "P",
    "category": "Grocery / 1",
    "coupon": "C",
    "coupontarget": "C5",
    "campaign": "K5",
    "campaigncoupon": "C5",
    "campaignshopper": "S500",
    "order": "S500",
    "orderline": "O500",
    "redemption": "K5",
    "event": "S500",
    "recommendation": "C5",
    "run": "K1",
    "runcoupon": "C5",
    "publication": "K1",
    "job": "train",
    "logentry": "Coupon",
}


@dataclass(frozen=True)
class Page:
    """A page by its address, or a form that is sent there. A preview and a confirmation are no list and no review."""

    name: str
    url: str
    data: dict[str, object] | None = field(default=None, hash=False)
    counts: bool = True

    def ask(self, client: "Client") -> "HttpResponse":
        answer = client.get(self.url) if self.data is None else client.post(self.url, self.data)
        for _part in getattr(answer, "streaming_content", ()):
            pass
        if answer.status_code != 200:
            raise SystemExit(f"{self.name}: {self.url} answered {answer.status_code}; expected 200.")
        return answer


@dataclass(frozen=True)
class Measured:
    """A page in one of the shops: seconds of each request, and queries of the last."""

    seconds: list[float]
    queries: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the pages of the staff desk in a small and a large shop.")
    parser.add_argument("--server", help="URL of a PostgreSQL; shops that were filled there are used again")
    parser.add_argument("--times", type=int, default=5, help="requests of each page in each shop")
    parser.add_argument("--only", default="", help="only pages whose names hold this")
    parser.add_argument("--write", type=Path, help="page of the docs whose table is replaced")
    options = parser.parse_args()
    with nullcontext(options.server) if options.server else run_postgres() as server:
        os.environ.update(DATABASE_URL=server, DJANGO_SETTINGS_MODULE="tests.settings")
        import django

        django.setup()
        connections = {shop: _prepare(shop) for shop in SHOPS}
        table = _tabulate(_measure(connections, options.times, options.only))
    sys.stdout.write(table)
    if options.write:
        before, _begin, rest = options.write.read_text().partition(BEGIN)
        _old, end, after = rest.partition(END)
        if not end:
            raise SystemExit(f"{options.write} lacks the lines {BEGIN} and {END}; expected both in order.")
        options.write.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}")


# The shops


def _prepare(shop: str) -> Any:
    """A connection to a shop's database, which is made, migrated and filled if it is not there."""
    from django.core.management import call_command
    from django.db import connections
    from django.db.utils import load_backend

    from recommender.services.summaries import sum_up_shop
    from tests.load.large_shop import SIZES, fill_shop, is_filled

    settings = connections["default"].settings_dict
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [shop])
        if cursor.fetchone() is None:
            cursor.execute(f'CREATE DATABASE "{shop}"')
    connection = load_backend(settings["ENGINE"]).DatabaseWrapper({**settings, "NAME": shop}, "default")
    with _used(connection):
        call_command("migrate", verbosity=0)
        if not is_filled():
            started = time.perf_counter()
            fill_shop(SIZES[shop])
            sys.stderr.write(f"the {shop} shop was filled in {time.perf_counter() - started:.0f} s\n")
        started = time.perf_counter()
        topics = sum_up_shop()  # as the jobs do that load history and finish runs
        sys.stderr.write(f"the {shop} shop: {topics} topics summed up in {time.perf_counter() - started:.0f} s\n")
    return connection


@contextmanager
def _used(connection: Any) -> Iterator[None]:
    """Have Django use this connection."""
    from django.contrib.contenttypes.models import ContentType
    from django.core.cache import cache
    from django.db import connections

    before = connections["default"]
    connections["default"] = connection
    ContentType.objects.clear_cache()
    cache.clear()
    try:
        yield
    finally:
        connections["default"] = before


# The pages


def _list_pages(client: "Client") -> list[Page]:
    from django.contrib import admin

    models = sorted(admin.site._registry, key=lambda model: model.__name__)
    listed = [page for model in models if model.__name__ != "Shop" for page in _list_pages_of(model, client)]
    return [*_list_reviews(), *listed, *filter(None, map(_page_of_a_row, models))]


def _list_reviews() -> list[Page]:
    from django.urls import reverse

    from recommender.models import Campaign, Run, Segment, Shopper

    whole, _live, few = Run.objects.order_by("pk")[:3]
    running, over = Campaign.objects.get(campaign_id="K0"), Campaign.objects.get(campaign_id="K5")
    shopper = Shopper.objects.get(shopper_id="S50")
    frequent = Segment.objects.order_by("pk")[0]

    def page(name: str, address: str, *keys: int, query: dict[str, object] | None = None, counts: bool = True) -> Page:
        return Page(name, reverse(f"admin:{address}", args=keys, query=query), counts=counts)

    return [
        page("home", "index"),
        page("calendar", "recommender_campaign_calendar"),
        page("results of all campaigns", "recommender_campaign_results_list"),
        page("results of a campaign for everybody", "recommender_campaign_results", running.pk),
        page("results of a campaign that is over", "recommender_campaign_results", over.pk),
        page("results as CSV", "recommender_campaign_results_export", running.pk),
        page("campaign for everybody", "recommender_campaign_change", running.pk),
        page("campaign that is over", "recommender_campaign_change", over.pk),
        page("run for everybody", "recommender_run_change", whole.pk),
        page("run for a few", "recommender_run_change", few.pk),
        page("sample of a run for everybody", "recommender_run_sample", whole.pk),
        page("shopper of a run for everybody", "recommender_run_shopper", whole.pk, shopper.pk),
        page("lists of a run for everybody", "recommender_recommendation_changelist", query={"run": whole.pk}),
        page("lists of a run for a few", "recommender_recommendation_changelist", query={"run": few.pk}),
        page(
            "lists of a run, one coupon",
            "recommender_recommendation_changelist",
            query={"run": whole.pk, "q": "C7"},
        ),
        page(
            "lists of a run, taken out",
            "recommender_recommendation_changelist",
            query={"run": whole.pk, "excluded__exact": 1},
        ),
        page("coupons of a run", "recommender_runcoupon_changelist", query={"run__id__exact": whole.pk}),
        page(
            "shoppers of a campaign",
            "recommender_campaignshopper_changelist",
            query={"campaign__id__exact": running.pk},
        ),
        page("redemptions of a campaign", "recommender_redemption_changelist", query={"campaign__id__exact": over.pk}),
        page("models side by side", "recommender_modelversion_compare", few.model_version_id),
        page("the champion", "recommender_modelversion_explain_champion"),
        page("new segment", "recommender_segment_add"),
        page("new campaign", "recommender_campaign_add"),
        page("asks: publish a run for everybody", "recommender_run_publish", whole.pk, counts=False),
        page("asks: correct a run for everybody", "recommender_run_correct", whole.pk, counts=False),
        page("asks: approve a run for a few", "recommender_run_approve", few.pk, counts=False),
        page("asks: recommend for everybody", "recommender_campaign_recommend", running.pk, counts=False),
        page("asks: duplicate a campaign", "recommender_campaign_duplicate", running.pk, counts=False),
        page("asks: roll back", "recommender_campaign_roll_back", running.pk, counts=False),
        Page(
            f"counts the shoppers of “{frequent}”",
            reverse("admin:recommender_segment_preview_of", args=[frequent.pk]),
            data=_form_of(frequent),
            counts=False,
        ),
    ]


def _form_of(segment: Any) -> dict[str, object]:
    """The form of a segment as its page sends it."""
    conditions = list(segment.conditions.order_by("pk"))
    data: dict[str, object] = {
        "name": segment.name,
        "match": segment.match,
        "conditions-TOTAL_FORMS": len(conditions),
        "conditions-INITIAL_FORMS": len(conditions),
    }
    for number, condition in enumerate(conditions):
        for name in ("id", "kind", "comparison", "amount", "days", "attribute", "value"):
            value = getattr(condition, name)
            data[f"conditions-{number}-{name}"] = "" if value is None else value
    return data


def _list_pages_of(model: "type[Model]", client: "Client") -> list[Page]:
    """The list of a model: its first page, the next, a search, and one choice of each filter."""
    from django.urls import reverse

    name = str(model._meta.verbose_name_plural)
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    first = Page(f"list of {name}", url)
    changelist = first.ask(client).context["cl"]
    pages = [first]
    if changelist.paginator.num_pages > 1:
        pages.append(Page(f"{first.name}, next page", f"{url}?p=2"))
    term = SEARCHES.get(model._meta.model_name or "", "no such thing")
    pages.append(Page(f"{first.name}, “{term}”", f"{url}?q={term}"))
    for spec in changelist.filter_specs:
        choice = list(spec.choices(changelist))[-1]
        pages.append(Page(f"{first.name}, {spec.title}: {choice['display']}", url + choice["query_string"]))
    return pages


def _page_of_a_row(model: "type[Model]") -> Page | None:
    from django.urls import reverse

    row = model._default_manager.order_by("-pk").values_list("pk", flat=True).first()
    if row is None:
        return None
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[row])
    return Page(f"page of a {model._meta.verbose_name}", url)


# Measuring


def _measure(connections: dict[str, Any], times: int, only: str) -> dict[Page, dict[str, Measured]]:
    from django.test import Client
    from django.test.utils import setup_test_environment

    from recommender.models import User

    setup_test_environment()
    clients, pages = {}, {}
    for shop, connection in connections.items():
        with _used(connection):
            clients[shop] = Client()
            clients[shop].force_login(User.objects.get(username="desk"))
            pages[shop] = _list_pages(clients[shop])
    by_name = {shop: {page.name: page for page in pages[shop]} for shop in SHOPS}
    measured: dict[Page, dict[str, Measured]] = {}
    for page in pages["large"]:
        if only not in page.name or page.name not in by_name["small"]:
            continue
        of_shops = {shop: by_name[shop][page.name] for shop in SHOPS}
        measured[page] = _measure_page(of_shops, clients, connections, times)
        if _ratio(measured[page]) > MOST:  # other work on the machine may have been in the way
            measured[page] = _measure_page(of_shops, clients, connections, 3 * times)
        sys.stderr.write(_line(page, measured[page]))
        sys.stderr.flush()
    return measured


def _measure_page(
    pages: dict[str, Page], clients: dict[str, "Client"], connections: dict[str, Any], times: int
) -> dict[str, Measured]:
    from django.test.utils import CaptureQueriesContext

    seconds: dict[str, list[float]] = {shop: [] for shop in SHOPS}
    queries = {}
    for number in range(times + 1):
        for shop in SHOPS:
            connections[shop].queries_log.clear()  # it holds no more than some thousands
            with _used(connections[shop]), CaptureQueriesContext(connections[shop]) as captured:
                started = time.perf_counter()
                pages[shop].ask(clients[shop])
                if number:
                    seconds[shop].append(time.perf_counter() - started)
            queries[shop] = len(captured)
    return {shop: Measured(seconds[shop], queries[shop]) for shop in SHOPS}


def _ratio(measured: dict[str, Measured]) -> float:
    return measured["large"].median / measured["small"].median


def _line(page: Page, measured: dict[str, Measured]) -> str:
    small, large = measured["small"], measured["large"]
    ratio = _ratio(measured)
    mark = " !" if page.counts and ratio > MOST else ""
    return (
        f"| {page.name} | {1000 * small.median:.0f} | {1000 * large.median:.0f} | {ratio:.2f}{mark} "
        f"| {small.queries} | {large.queries} |\n"
    )


def _tabulate(measured: dict[Page, dict[str, Measured]]) -> str:
    head = "| page | small, ms | large, ms | ratio | queries, small | queries, large |\n"
    return head + "| --- | ---: | ---: | ---: | ---: | ---: |\n" + "".join(_line(*row) for row in measured.items())


if __name__ == "__main__":
    main()
