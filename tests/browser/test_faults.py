"""What goes wrong in the staff desk ends in a page that says so, and nothing is lost."""

import re
import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from recommender.jobs import start_job
from recommender.models import Answer, Campaign, Coupon, Job, Publication, Run, Segment, Shop, Shopper, Upload, User
from recommender.tasks import sweep
from tests.admin.rows import add_rows
from tests.admin.test_roles import LOOKING, address, prepare, walk
from tests.browser.conftest import PASSWORD
from tests.browser.test_pages import grave_faults
from tests.browser.visits import NO_PAGES
from tests.services.small_shop import START, add_run
from tests.services.uploads.files import zip_export, zip_members
from tests.worker import run_worker

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

PATIENCE = 60_000  # milliseconds
#: What nobody should ever see.
TRACE = re.compile(r"Traceback|DoesNotExist|Server Error \(500\)|/recommender/\w+\.py")

BAD_EXPORTS = {
    "no zip": ("export.zip", b"PK and then nothing", "The file is not a zip, or it is damaged"),
    "a table that is none": ("export.zip", zip_members({"customers.csv": "id\n1\n"}), "customers.csv is not a table"),
    "a way out": ("export.zip", zip_members({"../../evil.csv": "x"}), "../../evil.csv leads out of its folder."),
    "other columns": ("export.zip", zip_export(shoppers="name,age\nAda,36\n"), "shoppers.csv"),
}
REFUSED_AT_ONCE = {
    "empty": ("export.zip", b"", "The submitted file is empty."),
    "another kind": ("export.rar", b"Rar!", "export.rar cannot be loaded."),
}


def show(page: Page, site: str, path: str) -> None:
    page.goto(f"{site}{path}")
    page.wait_for_function("!document.querySelector('[x-cloak]')")


def press(page: Page, button: str) -> None:
    """Press the button of a page's own form, and wait for the answer."""
    with page.expect_navigation():
        page.locator("#main, main").get_by_role("button", name=button, exact=True).last.click()


def upload(page: Page, site: str, name: str, content: bytes) -> None:
    show(page, site, reverse("admin:recommender_upload_add"))
    page.set_input_files("input[type=file]", {"name": name, "mimeType": "application/zip", "buffer": content})
    press(page, "Upload and check")


def test_what_is_no_export_is_told_on_its_page(
    sign_in: Callable[..., Page], worker: subprocess.Popen, live_server: LiveServer, settings: Any, tmp_path: Path
) -> None:
    Shop.current()
    page = sign_in("erin", "editor")
    for name, content, problem in REFUSED_AT_ONCE.values():
        upload(page, live_server.url, name, content)
        expect(page.get_by_text(problem)).to_be_visible()
    assert not Upload.objects.exists()
    for number, (name, content, problem) in enumerate(BAD_EXPORTS.values(), start=1):
        upload(page, live_server.url, name, content)
        expect(page.get_by_role("heading", name="It cannot be loaded")).to_be_visible(timeout=PATIENCE)
        expect(page.locator(".desk-problem")).to_contain_text(problem)
        expect(page.get_by_text("Nothing was changed. Mend the export and upload it again.")).to_be_visible()
        assert grave_faults(page) == []
        assert not TRACE.search(page.content())
        assert Upload.objects.filter(state=Upload.State.REFUSED).count() == number
    assert not Shopper.objects.exists()
    assert not list(settings.DATA_DIR.parent.rglob("evil.csv"))


def test_a_long_form_survives_the_end_of_its_session(sign_in: Callable[..., Page], live_server: LiveServer) -> None:
    """Two rows of conditions and a description: all of it is saved after signing in again, none of it before."""
    page = sign_in("erin", "editor")
    show(page, live_server.url, reverse("admin:recommender_segment_add"))
    name = "Tea & cake <lovers>"
    page.fill("[name=name]", name)
    page.fill("[name=description]", "Buys tea, and cake too.")
    page.get_by_role("link", name=re.compile("Add another")).first.click()
    for number, comparison, amount in ((0, "at_least", "3"), (1, "at_most", "9")):
        page.select_option(f"[name=conditions-{number}-kind]", "orders")
        page.select_option(f"[name=conditions-{number}-comparison]", comparison)
        page.fill(f"[name=conditions-{number}-amount]", amount)
        page.fill(f"[name=conditions-{number}-days]", "90")
    Session.objects.all().delete()

    press(page, "Save")
    expect(page.get_by_role("heading", name="You were signed out meanwhile")).to_be_visible()
    assert grave_faults(page) == []
    page.get_by_text("What you sent", exact=True).click()
    expect(page.get_by_text("Buys tea, and cake too.")).to_be_visible()
    press(page, "Send it again")
    expect(page.get_by_role("heading", name="You were signed out meanwhile")).to_be_visible()
    assert not Segment.objects.filter(name=name).exists()

    with page.expect_popup() as opened:
        page.get_by_role("link", name="Sign in").click()
    window = opened.value
    window.fill("input[name=username]", "erin")
    window.fill("input[name=password]", PASSWORD)
    window.press("input[name=password]", "Enter")
    window.wait_for_selector("input[name=password]", state="detached")
    window.close()
    press(page, "Send it again")
    assert page.url == f"{live_server.url}{reverse('admin:recommender_segment_changelist')}"
    segment = Segment.objects.get(name=name)
    assert segment.description == "Buys tea, and cake too."
    conditions = segment.conditions.order_by("pk").values_list("kind", "comparison", "amount", "days")
    assert list(conditions) == [("orders", "at_least", 3, 90), ("orders", "at_most", 9, 90)]


def test_a_page_from_before_signing_in_anew_is_sent_again(
    sign_in: Callable[..., Page], live_server: LiveServer
) -> None:
    Coupon.objects.create(coupon_id="c1", title="Tea")
    page = sign_in("erin", "editor")
    show(page, live_server.url, reverse("admin:recommender_coupon_change", args=[Coupon.objects.get().pk]))
    page.fill("[name=title]", "Coffee")
    page.context.clear_cookies()
    window = page.context.new_page()
    window.goto(f"{live_server.url}/admin/")
    window.fill("input[name=username]", "erin")
    window.fill("input[name=password]", PASSWORD)
    window.press("input[name=password]", "Enter")
    window.wait_for_selector("input[name=password]", state="detached")

    press(page, "Save")
    expect(page.get_by_role("heading", name="This page was open for too long")).to_be_visible()
    expect(page.get_by_text("You are signed in as erin.")).to_be_visible()
    assert grave_faults(page) == []
    assert Coupon.objects.get().title == "Tea"
    press(page, "Send it again")
    assert Coupon.objects.get().title == "Coffee"


def test_what_another_site_sends_is_not_offered_again(sign_in: Callable[..., Page], live_server: LiveServer) -> None:
    page = sign_in("ada", "administrator")
    target = f"{live_server.url}{reverse('admin:recommender_coupon_add')}"
    other = live_server.url.replace("localhost", "127.0.0.1")
    trap = f'<form method="post" action="{target}"><input name="coupon_id" value="evil"><button>Win</button></form>'
    page.route(f"{other}/trap", lambda route: route.fulfill(content_type="text/html", body=trap))
    page.goto(f"{other}/trap")
    page.get_by_role("button", name="Win").click()
    expect(page.get_by_role("heading", name="This page was open for too long")).to_be_visible()
    expect(page.get_by_role("button", name="Send it again")).to_have_count(0)
    assert "evil" not in page.content()
    assert not Coupon.objects.exists()


#: What asks before it is done: first what wants rows that others change, last what makes a campaign that they are not
#: about.
FIRST, LAST = ("run.correct", "upload.cancel"), ("campaign.duplicate",)
CONFIRMED = sorted(
    (
        (name, model, kind)
        for name, model, kind in walk()
        if kind in ("row", "list") and name not in LOOKING and f"recommender_{name.replace('.', '_')}" not in NO_PAGES
    ),
    key=lambda action: (action[0] not in FIRST, action[0] in LAST),
)


def test_a_double_click_does_a_thing_once(
    sign_in: Callable[..., Page], live_server: LiveServer, broker: redis.Redis
) -> None:
    """Without the script that holds the second click back, so that both reach the site."""
    add_rows(1)
    page = sign_in("ada", "administrator")
    page.route("**/once.js", lambda route: route.abort())
    for name, model, kind in CONFIRMED:
        Job.objects.filter(key__startswith="upload:").delete()  # one at a time works on an upload
        row, answer = prepare(name, model)
        action = name.partition(".")[2]
        where = address(model, action) if kind == "list" else address(model, action, row.pk)
        show(page, live_server.url, where)
        assert page.locator("[name=answer_key]").count() == 1, f"{name} does not ask: {page.inner_text('#main')}"
        for field, value in answer.items():
            control = page.locator(f"#main [name={field}]")
            if control.count() and control.get_attribute("type") != "hidden":
                match control.evaluate("element => element.type"):
                    case "checkbox":
                        control.check()
                    case "select-one":
                        control.select_option(str(value))
                    case _:
                        control.fill(value)
        if name == "run.correct":  # it says first what it reaches
            with page.expect_navigation():
                page.locator("#main form button[type=submit]").last.click()
        answers, logged = Answer.objects.count(), LogEntry.objects.count()
        jobs, publications = Job.objects.count(), Publication.objects.count()
        page.locator("#main form button[type=submit]").last.dblclick(no_wait_after=True)
        expect(page.locator("[name=answer_key]"), name).to_have_count(0, timeout=PATIENCE)
        page.wait_for_load_state()
        expect(page.locator("h1").first).to_be_visible()
        assert Answer.objects.count() - answers == 1, name
        assert LogEntry.objects.count() - logged <= 1 + (name == "campaign.duplicate"), name  # the copy too
        assert Job.objects.count() - jobs <= 1, name
        assert Publication.objects.count() - publications <= 1, name
        assert not TRACE.search(page.content()), name


@pytest.mark.parametrize("runs", [1, 2])
def test_two_people_publish_at_once(runs: int, sign_in: Callable[..., Page], live_server: LiveServer) -> None:
    """The same run, or another of the same campaign: one wins, and the other is told."""
    campaign = Campaign.objects.create(
        campaign_id="spring", starts_at=START, ends_at=timezone.now() + timedelta(days=30)
    )
    wanted = [add_run(campaign) for _number in range(runs)]
    people = [sign_in(name, "publisher") for name in ("paul", "petra")]
    for number, page in enumerate(people):
        show(page, live_server.url, address(Run, "publish", wanted[number % runs].pk))
        page.check("[name=accepted]")
    for page in people:  # neither waits for the other's answer
        page.evaluate("setTimeout(() => document.querySelector('#main form [name=answer_key]').form.requestSubmit())")
    for page in people:
        page.wait_for_url(re.compile("/change/$"))
        page.wait_for_load_state()
    live = Publication.objects.get()
    winner, loser = people if live.published_by.username == "paul" else reversed(people)
    expect(winner.get_by_text(f"Run {live.run_id} is live.")).to_be_visible()
    refusal = f"Run {live.run_id} is live already: {live.published_by} published it."
    expect(
        loser.get_by_text(refusal if runs == 1 else "What the campaign shows has changed meanwhile.")
    ).to_be_visible()
    assert Publication.objects.live().get() == live
    assert Run.objects.filter(state=Run.State.PUBLISHED).count() == 1


def test_a_job_whose_worker_died_says_so_and_is_taken_up_again(
    sign_in: Callable[..., Page], live_server: LiveServer, broker: redis.Redis, tmp_path: Path
) -> None:
    erin = sign_in("erin", "editor")
    log = tmp_path / "worker.log"
    with run_worker(log, include="tests.slow_work") as worker:
        job = start_job(
            kind=Job.Kind.LOAD,
            key="slow",
            arguments={"folder": str(tmp_path)},
            started_by=User.objects.get(username="erin"),
        )
        show(erin, live_server.url, address(Job, "change", job.pk))
        expect(erin.locator("[data-part=message]")).to_have_text("Working", timeout=PATIENCE)
        expect(erin.locator("[data-part=silence]")).to_be_hidden()
        worker.send_signal(signal.SIGKILL)
        worker.wait(timeout=10)
    Job.objects.update(heartbeat_at=timezone.now() - Job.SILENT_AFTER - timedelta(seconds=1))
    expect(erin.locator("[data-part=silence]")).to_contain_text("its worker may have been stopped", timeout=PATIENCE)
    assert grave_faults(erin) == []
    erin.reload()
    expect(erin.locator("[data-part=silence]")).to_contain_text("Nothing is lost.")

    Job.objects.update(heartbeat_at=timezone.now() - Job.HEARTBEAT_EXPIRES - timedelta(seconds=1))
    with run_worker(log, include="tests.slow_work"):
        sweep.delay()
        expect(erin.locator("[data-part=log]")).to_contain_text("its worker gave no sign of life", timeout=PATIENCE)
        (tmp_path / "finish").touch()
        expect(erin.locator("[data-job-progress][data-finished=true]")).to_be_visible(timeout=PATIENCE)
    job.refresh_from_db()
    assert (job.state, job.attempts, job.error) == (Job.State.SUCCEEDED, 2, "")


@pytest.mark.parametrize(
    ("language", "missing", "failed"),
    [("en", "There is no such page", "The site has failed"), ("zh-CN", "没有这个页面", "网站出错了")],
)
def test_what_is_not_there_and_what_fails_have_a_page(
    language: str,
    missing: str,
    failed: str,
    sign_in: Callable[..., Page],
    live_server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = sign_in("ada", "administrator", language=language, width=390)

    def fail(*arguments: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("recommender.admin.home.describe_shop", fail)
    for path, heading, status in (
        ("/admin/nonsense/", missing, 404),
        ("/nonsense/", missing, 404),
        ("/admin/recommender/run/99/shoppers/1/", missing, 404),
        ("/admin/", failed, 500),
    ):
        answer = page.goto(f"{live_server.url}{path}")
        assert answer is not None and answer.status == status, path
        page.wait_for_function("!document.querySelector('[x-cloak]')")
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        assert grave_faults(page) == []
        assert not TRACE.search(page.content())
        assert "a secret" not in page.content()
