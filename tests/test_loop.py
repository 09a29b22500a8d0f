"""The whole loop on a small part of the real sample: history, training, lists, the API, feedback, history."""

from pathlib import Path

import polars as pl
import pytest
from django.core.management import call_command
from django.utils import timezone
from rest_framework.test import APIClient

from recommender import models
from recommender.ml.algorithms import algorithms_named
from recommender.models import Run, Shop
from recommender.reasons import in_words, speaking_for
from recommender.services.access import create_api_key, issue_shopper_token
from recommender.services.ingest import load_export
from recommender.services.snapshot import open_snapshot, take_snapshot
from recommender.services.training import train
from tests.extract import LIVE, open_shop

pytestmark = pytest.mark.django_db

TOP = 5


@pytest.fixture
def shop(data_dir: Path, export: Path) -> None:
    open_shop()
    report = load_export(folder=export)
    assert [file.new for file in report.files] == [file.rows for file in report.files]


def caller(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def recommend(capsys: pytest.CaptureFixture[str], *options: str) -> Run:
    call_command("recommend", "--campaign", LIVE, "--top", str(TOP), *options)
    return Run.objects.get(pk=int(capsys.readouterr().out.splitlines()[-1]))


def list_of(run: Run, shopper_id: str) -> list[tuple[int, float, str, list[str]]]:
    """What a run recommends to a shopper: rank, score, coupon, and the reasons in words."""
    return [
        (row.rank, row.score, row.coupon.coupon_id, in_words(speaking_for(row.reasons)))
        for row in run.recommendations.filter(shopper__shopper_id=shopper_id).select_related("coupon").order_by("rank")
    ]


def answer(client: APIClient, shopper_id: str) -> list[tuple[int, float, str, list[str]]]:
    """What the API answers, in the same form."""
    response = client.get(f"/api/v1/shoppers/{shopper_id}/coupons")
    assert response.status_code == 200, response.json()
    assert response.json()["shopper_id"] == shopper_id
    assert {offered["campaign"]["campaign_id"] for offered in response.json()["coupons"]} <= {LIVE}
    return [
        (
            offered["rank"],
            offered["score"],
            offered["coupon"]["coupon_id"],
            [reason["text"] for reason in offered["reasons"]],
        )
        for offered in response.json()["coupons"]
    ]


def used_offers() -> int:
    """A coupon that a shopper used twice in a campaign is one."""
    return models.Redemption.objects.values("campaign", "shopper", "coupon").distinct().count()


def table(snapshot: models.Snapshot, name: str) -> pl.DataFrame:
    """A table of a snapshot with the shop's identifiers beside its numbers."""
    files = open_snapshot(snapshot=snapshot)
    frame = files.scan(name)
    for thing in ("shopper", "coupon", "campaign"):
        named = files.scan(f"{thing}s").select(thing, f"{thing}_id")
        frame = frame.join(named, on=thing, how="left", maintain_order="left")
    return frame.collect()


def test_the_loop(shop: None, capsys: pytest.CaptureFixture[str]) -> None:
    # History is learned from.
    learned = train()
    assert {version.algorithm for version in learned.versions} == {each.name for each in algorithms_named(None)}
    assert learned.champion == Shop.current().champion
    assert learned.selection is not None
    assert learned.selection.comparison is not None
    used_before = used_offers()
    assert learned.champion.training_positives == used_before > 100
    assert learned.champion.training_rows > 10 * used_before
    redemptions_before = models.Redemption.objects.count()

    # The live campaign gets its lists.
    run = recommend(capsys)
    sent = models.CampaignShopper.objects.filter(campaign__campaign_id=LIVE).values_list(
        "shopper__shopper_id", flat=True
    )
    audience = sorted(sent)
    assert (run.model_version, run.state) == (learned.champion, Run.State.DRAFTED)
    assert (run.shopper_count, run.recommendation_count) == (len(audience), TOP * len(audience))
    other_run = recommend(capsys, "--algorithm", "popularity")
    assert run.pk != other_run.pk

    # Publishing changes what the API answers, to the shop and to the shopper.
    key = caller(create_api_key(name="till")[1])
    tokens = {
        shopper_id: caller(issue_shopper_token(shopper_id=shopper_id, at=timezone.now()).token)
        for shopper_id in audience
    }
    assert all(answer(key, shopper_id) == [] for shopper_id in audience)

    call_command("publish", str(run.pk))
    for shopper_id in audience:
        expected = list_of(run, shopper_id)
        assert [rank for rank, *_ in expected] == list(range(1, TOP + 1))
        assert all(reasons for *_, reasons in expected)
        assert answer(key, shopper_id) == expected
        assert answer(tokens[shopper_id], shopper_id) == expected
    shopper_id, stranger = audience[:2]
    assert tokens[stranger].get(f"/api/v1/shoppers/{shopper_id}/coupons").status_code == 403

    call_command("publish", str(other_run.pk))
    assert answer(key, shopper_id) == list_of(other_run, shopper_id) != list_of(run, shopper_id)
    call_command("rollback", LIVE)
    assert answer(key, shopper_id) == list_of(run, shopper_id)

    # What the shopper does comes back in.
    before = take_snapshot()
    assert table(before, "events").is_empty()
    coupon_id = list_of(run, shopper_id)[0][2]
    for kind in ("impression", "click"):
        event = {"kind": kind, "coupon_id": coupon_id, "campaign_id": LIVE}
        posted = tokens[shopper_id].post("/api/v1/events", event, format="json")
        assert (posted.status_code, posted.json()["accepted"]) == (200, 1)
    use = {"shopper_id": shopper_id, "coupon_id": coupon_id, "discount_amount": "1.250"}
    assert tokens[shopper_id].post("/api/v1/redemptions", use, format="json").status_code == 403
    redeemed = key.post("/api/v1/redemptions", use, format="json")
    assert (redeemed.status_code, redeemed.json()["campaign_id"]) == (201, LIVE)

    # The next snapshot has it.
    after = take_snapshot()
    assert after.fingerprint != before.fingerprint
    assert table(after, "events").select("shopper_id", "coupon_id", "campaign_id", "kind").rows() == [
        (shopper_id, coupon_id, LIVE, "impression"),
        (shopper_id, coupon_id, LIVE, "click"),
    ]
    redemptions = table(after, "redemptions")
    assert redemptions.height == redemptions_before + 1
    assert redemptions.filter(campaign_id=LIVE).select("shopper_id", "coupon_id", "discount_amount").rows() == [
        (shopper_id, coupon_id, 1.25)
    ]
    offers = table(after, "offers")
    published = {
        (each.shopper.shopper_id, each.coupon.coupon_id)
        for each in models.Recommendation.objects.filter(run__in=[run, other_run]).select_related("shopper", "coupon")
    }
    assert set(offers.select("shopper_id", "coupon_id").rows()) == published
    assert offers.height == len(published)
    assert set(offers["campaign_id"]) == {LIVE}

    # Once the campaign is over, what was offered first in it and what became of that is learned from.
    models.Campaign.objects.filter(campaign_id=LIVE).update(ends_at=timezone.now())
    assert answer(key, shopper_id) == []
    view = {"shopper_id": shopper_id, "kind": "view", "product_id": models.Product.objects.earliest("pk").product_id}
    assert key.post("/api/v1/events", view, format="json").status_code == 200

    relearned = {version.algorithm: version for version in train(algorithms=["popularity"]).versions}
    assert set(relearned) == {"popularity", learned.champion.algorithm}
    for version in relearned.values():
        assert version.learned_until > learned.champion.learned_until
        assert version.training_rows == learned.champion.training_rows + run.recommendations.count()
        assert version.training_positives == used_offers() == used_before + 1
