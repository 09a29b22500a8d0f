"""An experiment in the staff desk: prepared by one person, started by another, served by the API, and decided."""

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import F
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from recommender.models import (
    Coupon,
    Experiment,
    ExperimentExposure,
    Product,
    Publication,
    Run,
    Shopper,
    Summary,
)
from recommender.services.access import create_api_key
from tests.api.shop_rows import make_campaign
from tests.api.shop_rows import publish as put_on_show
from tests.browser.test_story import action, confirm, do, wait_for_job
from tests.services.test_experiment_results import amounts, buy, keys_of
from tests.services.test_experiments import approved_run, arms_of

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

NAMES = [f"s{number}" for number in range(400)]


def choose(page: Page, field: str, text: str) -> None:
    """Search for a row in the box of a field, and take the one that is found."""
    page.locator(f"[name={field}] + .select2-container [role=combobox]").click()
    expect(page.get_by_role("searchbox")).to_be_focused()  # it takes the focus a moment after it has opened
    page.keyboard.type(text)
    option = page.locator(".select2-results__option--highlighted")
    expect(option).to_contain_text(text)
    option.click()


def serve(client: APIClient) -> dict[str, str]:
    """What each shopper is offered."""
    answer = client.post("/api/v1/recommendations", {"shopper_ids": NAMES}, format="json")
    assert answer.status_code == 200, answer.json()
    shoppers = answer.json()["shoppers"]
    return {each["shopper_id"]: each["coupons"][0]["coupon"]["coupon_id"] for each in shoppers}


def await_figures(page: Page, back: str, link: str) -> None:
    """Watch the job that sums them up, and come back when it is done."""
    page.get_by_role("link", name=link).click()
    wait_for_job(page)
    page.goto(back)


def let_days_pass(experiment: Experiment, days: int) -> None:
    passed = timedelta(days=days)
    Experiment.objects.filter(pk=experiment.pk).update(started_at=F("started_at") - passed)
    ExperimentExposure.objects.update(exposed_at=F("exposed_at") - passed)
    Summary.objects.update(made_at=F("made_at") - passed)
    experiment.refresh_from_db()


def test_two_runs_are_compared_and_the_better_one_becomes_the_default(
    sign_in: Callable[..., Page], worker: subprocess.Popen, live_server: LiveServer
) -> None:
    now = timezone.now()
    tea, milk = (Coupon.objects.create(coupon_id=name) for name in ("tea", "milk"))
    campaign = make_campaign("spring", tea, milk, starts_at=now - timedelta(days=20), ends_at=now + timedelta(days=9))
    Product.objects.create(product_id="p", cost=1)
    shoppers = Shopper.objects.bulk_create(Shopper(shopper_id=name) for name in NAMES)
    live = put_on_show(campaign, *((shopper, tea, 0.5) for shopper in shoppers)).run
    other = approved_run(campaign, "milk")
    _row, key = create_api_key(name="till")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")

    # An editor prepares it. Nothing changes for anybody, and she may not start it.
    editor = sign_in("erin", "editor")
    editor.goto(live_server.url + reverse("admin:recommender_experiment_add"))
    editor.fill("[name=name]", "Is milk better than tea?")
    choose(editor, "campaign", "spring")
    for number, (name, run) in enumerate((("tea", live), ("milk", other))):
        editor.fill(f"[name=arms-{number}-name]", name)
        choose(editor, f"arms-{number}-run", str(run.pk))
    editor.get_by_role("button", name="Save", exact=True).click()
    expect(editor.get_by_text("was added successfully")).to_be_visible()
    experiment = Experiment.objects.get()
    assert [(arm.name, arm.run) for arm in arms_of(experiment)] == [("tea", live), ("milk", other)]
    page = live_server.url + reverse("admin:recommender_experiment_change", args=[experiment.pk])
    editor.goto(page)
    expect(editor.locator("[name=name]")).to_have_value("Is milk better than tea?")
    expect(action(editor, "Start")).to_have_count(0)
    assert set(serve(client).values()) == {"tea"}
    assert not ExperimentExposure.objects.exists()

    # A publisher starts it: each shopper is served by their arm, and is put on record.
    publisher = sign_in("paul", "publisher")
    publisher.goto(page)
    do(publisher, "Start")
    expect(publisher.get_by_text("The experiment runs.")).to_be_visible()
    await_figures(publisher, page, "How far it is")
    expect(publisher.get_by_text("Nothing is known yet of what was bought")).to_be_visible()
    served = Counter(serve(client).values())
    assert served == Counter({"tea": arms_of(experiment)[0].exposures.count(), "milk": served["milk"]})
    assert served.total() == ExperimentExposure.objects.count() == len(NAMES)

    # Days later he sees who was served and what came of it.
    experiment.refresh_from_db()
    let_days_pass(experiment, 8)
    for arm, mean in zip(arms_of(experiment), (10, 12), strict=True):
        buy(amounts(keys_of(arm), mean), timezone.now() - timedelta(days=1))
    publisher.goto(page)
    await_figures(publisher, page, "They are being summed up anew")
    for name, count in served.items():
        expect(publisher.get_by_role("row", name=re.compile(rf"^{name}.*50\.0 %"))).to_contain_text(str(count))
    expect(publisher.get_by_role("heading", name="milk beside tea")).to_be_visible()
    expect(publisher.get_by_role("row", name=re.compile("^Revenue decides"))).to_contain_text(
        "Surely more than the default"
    )
    expect(publisher.get_by_text("Surely better than the default, and no harm found: milk.")).to_be_visible()

    # One click on it, and a word: everybody is shown the better one.
    publisher.get_by_role("link", name="Make it the default milk").click()
    expect(publisher.locator("[name=arm] option:checked")).to_have_text("milk")
    confirm(publisher, "Make it the default")
    expect(publisher.get_by_text(f"Run {other.pk} of arm “milk” is shown to everybody.")).to_be_visible()
    experiment.refresh_from_db()
    assert (experiment.state, str(experiment.winner), experiment.ended_by.username) == ("ended", "milk", "paul")
    assert Publication.objects.live().get().run == other
    assert Run.objects.get(pk=live.pk).state == Run.State.SUPERSEDED
    assert set(serve(client).values()) == {"milk"}
    expect(action(publisher, "Make it the default")).to_have_count(0)
