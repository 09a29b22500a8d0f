"""The broker is a bell: without it shoppers are served and heard, and nothing that was to be done is forgotten."""

import pytest
import requests

from recommender.jobs import start_job
from recommender.models import Event, Job, Publication, Run
from recommender.services import runs
from recommender.services.access import create_api_key
from recommender.services.publishing import publish
from tests.faults.site import CAMPAIGN, Site, digest
from tests.faults.test_scoring import assert_whole

pytestmark = pytest.mark.real


def test_a_broker_that_is_emptied_takes_no_job_with_it(site: Site, reference: str) -> None:
    job = site.start_run()
    site.broker.client.flushall()
    worker = site.start_worker(FAULT_BLOCK_SECONDS="0.2")
    site.wait_for(lambda: site.scored() > 2, sweeping=True)
    site.broker.client.flushall()
    worker.restart()  # and with it what it held
    waiting = start_job(kind=Job.Kind.SUM_UP, key="waits", arguments={})
    site.broker.client.flushall()
    assert_whole(site, site.finish(job), reference)
    assert site.finish(waiting).state == Job.State.SUCCEEDED


def test_a_broker_that_is_gone_for_a_while(site: Site, reference: str) -> None:
    """Lists are served and feedback is kept all the while; then the work goes on by itself."""
    live = publish(run=runs.compute_run(run=runs.plan_run(campaign=site.run.campaign, top=3)), approve=True)
    shopper_id = live.run.recommendations.first().shopper.shopper_id
    key = {"Authorization": f"Bearer {create_api_key(name='till')[1]}"}
    planned = Run.objects.earliest("pk")
    worker = site.start_worker(FAULT_BLOCK_SECONDS="0.2")
    with site.web() as web:
        job = site.start_run_of(planned)
        scored = planned.shards.filter(state="scored")
        site.wait_for(lambda: scored.count() > 2)

        site.broker.stop()
        lists = f"{web.address}/api/v1/shoppers/{shopper_id}/coupons"
        for number in range(5):
            answer = requests.get(lists, headers=key, timeout=30)
            assert (answer.status_code, len(answer.json()["coupons"])) == (200, 3)
            coupon_id = answer.json()["coupons"][0]["coupon"]["coupon_id"]
            event = {"kind": "click", "coupon_id": coupon_id, "campaign_id": CAMPAIGN, "shopper_id": shopper_id}
            kept = requests.post(f"{web.address}/api/v1/events", json=event, headers=key, timeout=30)
            assert (kept.status_code, kept.json()["accepted"]) == (200, 1), number
        assert Event.objects.filter(kind="click").count() == 5
        waiting = start_job(kind=Job.Kind.SUM_UP, key="waits", arguments={})
        assert (waiting.state, waiting.heartbeat_at) == (Job.State.QUEUED, None), "nobody could be told"
        worker.restart()  # one that comes up without a broker waits for it

        site.broker.start()
        site.finish(waiting)
        assert waiting.state == Job.State.SUCCEEDED
        job = site.finish(job)
    assert (job.state, job.error) == (Job.State.SUCCEEDED, "")
    planned.refresh_from_db()
    assert digest(planned) == reference
    assert Publication.objects.live().get() == live
