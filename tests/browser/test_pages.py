"""Every page that a member of staff meets: no serious accessibility fault, nothing wider than a phone, in both
languages."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from recommender import models
from recommender.models import Shop
from tests.admin.rows import add_rows

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

#: What keeps somebody from using a page.
GRAVE = {"serious", "critical"}
#: Models whose pages stand for those of the other kinds of rows: a list and a form each.
MODELS = (
    models.Campaign,
    models.Coupon,
    models.Job,
    models.ModelVersion,
    models.Publication,
    models.Recommendation,
    models.Run,
    models.Segment,
    models.Shop,
    models.Shopper,
    models.Upload,
    models.User,
)


def addresses() -> list[str]:
    """The first page, and a list and a row's page of each model."""
    found = [reverse("admin:index"), reverse("admin:recommender_campaign_calendar")]
    for model in MODELS:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row = model._default_manager.latest("pk")
        found += [reverse(f"{name}_changelist"), reverse(f"{name}_change", args=[row.pk])]
    return found


def grave_faults(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['help']} {[node['target'] for node in fault['nodes']][:3]}"
        for fault in found
        if fault["impact"] in GRAVE
    ]


@pytest.fixture
def rows(transactional_db: None) -> None:
    Shop.current()
    add_rows(1)


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("zh-CN", 390)])
def test_pages_can_be_used_by_everybody(
    rows: None, sign_in: Callable[..., Page], live_server: LiveServer, language: str, width: int
) -> None:
    page = sign_in("ada", "administrator", width=width, language=language)
    faults: list[str] = []
    for address in addresses():
        answer = page.goto(f"{live_server.url}{address}")
        assert answer is not None and answer.status == 200, address
        page.wait_for_load_state("networkidle")
        faults += [f"{address}: {fault}" for fault in grave_faults(page)]
        scrolled = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if scrolled > 0:
            faults.append(f"{address}: {scrolled} px wider than the screen")
    assert not faults, "\n".join(faults)
