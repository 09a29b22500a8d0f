"""PostgreSQL restarts under load: errors are clean, the site recovers by itself, and what it acknowledged is there."""

import signal
import threading
import time
from collections import Counter

import pytest
import requests
from django.db import connection

from recommender.models import Event, Job, Run
from recommender.services import runs
from recommender.services.access import create_api_key
from recommender.services.publishing import publish
from tests.faults.conftest import WHOLE
from tests.faults.site import CAMPAIGN, Site, digest

pytestmark = pytest.mark.real


class Callers:
    """Shoppers who look at their lists and click, as long as they are let."""

    def __init__(self, address: str, key: dict[str, str], shopper_id: str, coupon_id: str) -> None:
        self._address, self._key, self._shopper_id, self._coupon_id = address, key, shopper_id, coupon_id
        self.answers: Counter[tuple[str, int]] = Counter()
        self.acknowledged: list[str] = []
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=[number], daemon=True) for number in range(4)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def _call(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            event_key = f"{number}-{count}"
            event = {
                "kind": "click",
                "coupon_id": self._coupon_id,
                "campaign_id": CAMPAIGN,
                "shopper_id": self._shopper_id,
                "event_id": event_key,
            }
            for name, method, path, body in (
                ("list", "GET", f"shoppers/{self._shopper_id}/coupons", None),
                ("event", "POST", "events", event),
            ):
                try:
                    answer = requests.request(
                        method, f"{self._address}/api/v1/{path}", json=body, headers=self._key, timeout=60
                    )
                except requests.ConnectionError as error:
                    self.wrong.append(f"{name}: {error}")
                    continue
                self.answers[name, answer.status_code] += 1
                if name == "event" and answer.status_code == 200 and answer.json()["accepted"] == 1:
                    self.acknowledged.append(event_key)
                if answer.status_code == 503:
                    problem = answer.json()
                    if (problem["code"], answer.headers.get("Retry-After")) != ("unavailable", "1"):
                        self.wrong.append(f"{name}: {problem}")
            time.sleep(0.01)


def test_it_restarts_under_load(site: Site, reference: str) -> None:
    live = publish(run=runs.compute_run(run=runs.plan_run(campaign=site.run.campaign, top=3)), approve=True)
    first = live.run.recommendations.select_related("shopper", "coupon").first()
    key = {"Authorization": f"Bearer {create_api_key(name='till')[1]}"}
    planned = Run.objects.earliest("pk")
    site.start_worker(processes=2, FAULT_BLOCK_SECONDS="0.1")
    job = site.start_run_of(planned)
    scored = planned.shards.filter(state="scored")
    with site.web() as web, Callers(web.address, key, first.shopper.shopper_id, first.coupon.coupon_id) as callers:
        site.wait_for(lambda: scored.count() > 2 and len(callers.acknowledged) > 5)
        # In order, which ends all sessions, and as a crash does.
        for number in (signal.SIGINT, signal.SIGQUIT) * (5 if WHOLE else 1):
            connection.close()
            site.postgres.stop(number)
            down = callers.answers["list", 503]
            site.wait_for(lambda down=down: callers.answers["list", 503] > down)
            site.postgres.start()
            before = len(callers.acknowledged), callers.answers["list", 200]
            site.wait_for(
                lambda before=before: (
                    len(callers.acknowledged) > before[0] + 5 and callers.answers["list", 200] > before[1] + 5
                )
            )
        job = site.finish(job)
    assert callers.wrong == []
    assert {status for _name, status in callers.answers} == {200, 503}, (callers.answers, site.describe())
    kept = Event.objects.filter(kind="click").count()
    assert len(callers.acknowledged) <= kept <= callers.answers["event", 200] + callers.answers["event", 503]
    assert (job.state, job.error) == (Job.State.SUCCEEDED, ""), site.describe()
    assert digest(planned) == reference
