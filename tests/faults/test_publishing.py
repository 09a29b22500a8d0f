"""Shoppers see the old list or the new one, whatever becomes of who publishes."""

import os
import re
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
import requests
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse

from recommender.models import Publication, Run
from recommender.services import runs
from recommender.services.access import create_api_key
from recommender.services.publishing import LiveChanged, publish
from tests.faults.conftest import WHOLE
from tests.faults.site import CUT_OFF, Site

pytestmark = pytest.mark.real


def make_runs(site: Site, count: int) -> list[Run]:
    """Runs of the same campaign, with lists of different lengths."""
    return [
        runs.compute_run(run=runs.plan_run(campaign=site.run.campaign, top=top, as_of=site.run.as_of))
        for top in range(1, count + 1)
    ]


def list_of(run: Run, shopper_id: str) -> list[str]:
    rows = run.recommendations.filter(shopper__shopper_id=shopper_id).order_by("rank")
    return list(rows.values_list("coupon__coupon_id", flat=True))


class Reader:
    """Reads one shopper's list again and again."""

    def __init__(self, address: str, key: dict[str, str], shopper_id: str) -> None:
        self._url, self._key = f"{address}/api/v1/shoppers/{shopper_id}/coupons", key
        self.seen: Counter[tuple[str, ...]] = Counter()
        self.errors: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                answer = requests.get(self._url, headers=self._key, timeout=60)
            except CUT_OFF:  # it was answered by the process that was killed
                self.errors["cut off"] += 1
                continue
            if answer.status_code != 200:
                self.errors[str(answer.status_code)] += 1
                continue
            self.seen[tuple(offer["coupon"]["coupon_id"] for offer in answer.json()["coupons"])] += 1


def sign_in(address: str) -> requests.Session:
    """Somebody who may publish, at the real site."""
    user = get_user_model().objects.create(username="publisher", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    browser = requests.Session()
    browser.cookies.set("sessionid", client.cookies["sessionid"].value)
    browser.headers["Referer"] = address
    return browser


def press_publish(browser: requests.Session, address: str, run: Run) -> requests.Response | None:
    """As the page that asks has it; None if the site hung up."""
    url = address + reverse("admin:recommender_run_publish", args=[run.pk])
    page = browser.get(url, timeout=60).text
    form = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page))
    assert "csrfmiddlewaretoken" in form, page
    try:
        return browser.post(url, data={**form, "accepted": "on"}, timeout=120)
    except CUT_OFF:
        return None


def test_the_web_process_is_killed_in_the_middle(site: Site, tmp_path: Path) -> None:
    old, new = make_runs(site, 2)
    publish(run=old, approve=True)
    runs.approve_run(run=new)
    shopper_id = old.recommendations.first().shopper.shopper_id
    lists = [tuple(list_of(run, shopper_id)) for run in (old, new)]
    assert [len(each) for each in lists] == [1, 2]
    key = {"Authorization": f"Bearer {create_api_key(name='till')[1]}"}
    at_it, go_on = tmp_path / "publishing", tmp_path / "go-on"
    with (
        site.web("tests.faults.slow_web", FAULT_PUBLISHING=str(at_it), FAULT_GO_ON=str(go_on)) as web,
        Reader(web.address, key, shopper_id) as reader,
    ):
        browser = sign_in(web.address)
        for _ in range(5 if WHOLE else 2):
            site.wait_for(lambda: reader.seen[lists[0]] > 3)
            pressing = threading.Thread(target=press_publish, args=[browser, web.address, new], daemon=True)
            pressing.start()
            site.wait_for(lambda: at_it.exists() and at_it.read_text())
            reader.seen.clear()
            site.wait_for(lambda: sum(reader.seen.values()) > 3)
            assert set(reader.seen) == {lists[0]}, "nothing of it is seen before it is done"
            os.kill(int(at_it.read_text()), signal.SIGKILL)
            pressing.join(timeout=120)
            at_it.unlink()
            site.wait_for(web.answers)
            assert Publication.objects.live().get().run == old
            reader.seen.clear()
            site.wait_for(lambda: sum(reader.seen.values()) > 3)
            assert set(reader.seen) == {lists[0]}

        go_on.touch()
        reader.seen.clear()
        press_publish(browser, web.address, new)  # the same again, which goes through
        site.wait_for(lambda: reader.seen[lists[1]] > 3)
    assert Publication.objects.live().get().run == new
    assert set(reader.seen) <= set(lists), "never a mix"
    assert set(reader.errors) <= {"cut off"}


def test_two_publish_at_once(site: Site) -> None:
    """Both saw the same on show. One is done; the other is told that it has changed, and changes nothing."""
    old, *others = make_runs(site, 3)
    live = publish(run=old, approve=True)
    for run in others:
        runs.approve_run(run=run)
    for _ in range(5 if WHOLE else 2):
        barrier, outcomes = threading.Barrier(2), []

        def press(
            run: Run, barrier: threading.Barrier = barrier, live: Publication = live, out: list = outcomes
        ) -> None:
            try:
                barrier.wait()
                out.append(publish(run=run, live_seen=live.pk))
            except LiveChanged:
                out.append(None)
            finally:
                connection.close()

        threads = [threading.Thread(target=press, args=[run]) for run in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        (won,) = [outcome for outcome in outcomes if outcome is not None]
        assert len(outcomes) == 2
        live = Publication.objects.live().get()
        assert live == won
        states = dict(Run.objects.filter(pk__in=[run.pk for run in others]).values_list("pk", "state"))
        assert sorted(states.values()) == [Run.State.APPROVED, Run.State.PUBLISHED]
        # And from the start.
        Publication.objects.filter(pk=live.pk).update(ended_at=live.published_at)
        Run.objects.filter(pk__in=states).update(state=Run.State.APPROVED)
        Run.objects.filter(pk=old.pk).update(state=Run.State.APPROVED)
        live = publish(run=old)
