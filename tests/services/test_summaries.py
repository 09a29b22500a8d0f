"""Figures that are kept for pages: the same as those made anew, and none that are of other rows."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from recommender import models
from recommender.models import Campaign, Coupon, Job, ModelVersion, Run, RunCoupon, Summary
from recommender.services import summaries
from recommender.services.summaries import (
    Calibration,
    Results,
    RunChecks,
    ShopActivity,
    Topic,
    UsesOfCampaigns,
    UsesOfCoupons,
    WhatChanged,
    find_topic,
    list_large_topics,
    sum_up_shop,
)
from tests.admin.rows import START, add_rows

pytestmark = pytest.mark.django_db

TOPICS: dict[str, Callable[[], Topic]] = {
    "activity": ShopActivity,
    "uses": UsesOfCampaigns,
    "coupons": UsesOfCoupons,
    "calibration": Calibration,
    "calibration of a version": lambda: Calibration(ModelVersion.objects.latest("pk")),
    "results": lambda: Results(Campaign.objects.latest("pk")),
    "what changed": lambda: WhatChanged(Campaign.objects.latest("pk")),
    "checks": lambda: RunChecks(Run.objects.latest("pk")),
}


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop with something to tell of every topic, all of which are large."""
    add_rows(1)
    add_rows(2)
    Campaign.objects.update(ends_at=timezone.now() - timedelta(days=1))
    models.Order.objects.update(ordered_at=timezone.now())
    models.Publication.objects.update(published_at=START)
    models.Redemption.objects.update(redeemed_at=timezone.now() - timedelta(days=2))
    models.Event.objects.update(kind=models.Event.Kind.CLICK)
    Run.objects.update(
        expected_redemptions=1, expected_low=0, expected_high=3, recommendation_count=1, estimated_at=timezone.now()
    )
    everybody = models.Segment.objects.create(name="everybody")
    models.SegmentCondition.objects.create(segment=everybody, kind="orders", comparison="at_most", amount=1_000)
    for number in range(4):
        models.CampaignShopper.objects.create(
            campaign=Campaign.objects.latest("pk"),
            shopper=models.Shopper.objects.create(shopper_id=f"other-{number}"),
            group="control" if number % 2 else "treatment",
            origin="audience",
        )
    monkeypatch.setattr(summaries, "FEW", 0)


@pytest.mark.parametrize("name", TOPICS)
def test_what_is_kept_is_what_was_made(name: str, shop: None) -> None:
    topic = TOPICS[name]()
    assert topic.is_large()
    assert topic.find() is None
    made = topic.sum_up()
    found = TOPICS[name]().find()
    assert found is not None
    assert found.content == made.content
    assert find_topic(key=topic.key).find().content == made.content  # type: ignore[union-attr]


def test_every_field_is_told_by_something(shop: None) -> None:
    """The shop of these tests has figures wherever the stored ones could be read wrongly."""
    report = Results(Campaign.objects.latest("pk")).make()
    assert report.total.money.discount == 1
    assert report.by_coupon
    assert report.by_group
    assert report.by_day
    assert Calibration().make().runs
    assert any(day.redemptions for day in ShopActivity().make().days)
    changed = WhatChanged(Campaign.objects.latest("pk")).make()
    assert changed.whole
    assert changed.by_coupon
    assert changed.by_segment
    assert changed.anyway
    assert changed.size_p_value
    assert UsesOfCampaigns().make()
    assert UsesOfCoupons().make()


def test_summing_up_again_replaces_what_is_kept(shop: None) -> None:
    topic = UsesOfCampaigns()
    first = topic.sum_up()
    models.Redemption.objects.all().delete()
    assert topic.find().content == first.content  # type: ignore[union-attr]
    topic.sum_up()
    assert {uses.uses for uses in topic.find().content.values()} == {0}  # type: ignore[union-attr]
    assert Summary.objects.count() == 1


def test_figures_that_cannot_be_read_are_none(shop: None) -> None:
    topic = Results(Campaign.objects.latest("pk"))
    topic.sum_up()
    for content in ({}, [], {"campaign": 10**6}, "nonsense"):
        Summary.objects.update(content=content)
        assert topic.find() is None


def test_figures_about_a_row_that_is_gone_are_none(shop: None) -> None:
    topic = Results(Campaign.objects.latest("pk"))
    topic.sum_up()
    gone = Coupon.objects.create(coupon_id="gone")
    summary = Summary.objects.get()
    summary.content["by_coupon"][0][0] = gone.pk
    summary.save()
    assert topic.find() is not None
    gone.delete()
    assert topic.find() is None


def test_checks_of_other_lists_are_none(shop: None) -> None:
    run = Run.objects.latest("pk")
    RunChecks(run).sum_up()
    assert RunChecks(run).find() is not None
    Run.objects.update(estimated_at=timezone.now() + timedelta(seconds=1))
    run.refresh_from_db()
    assert RunChecks(run).find() is None


def test_checks_from_before_a_correction_began_are_none(shop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.objects.latest("pk")
    before = RunChecks(run).sum_up().content
    job = Job.objects.create(kind=Job.Kind.CORRECT, key=run.correction_job_key)
    assert RunChecks(run).find() is None
    monkeypatch.setattr(summaries, "compare_with_live", lambda **_: pytest.fail("the lists are the same still"))
    during = RunChecks(run).sum_up().content
    assert during.difference == before.difference
    broken = {finding.rule for finding in during.findings["en"] if not finding.kept}
    assert broken - {finding.rule for finding in before.findings["en"] if not finding.kept} == {
        "No correction under way"
    }
    Job.objects.filter(pk=job.pk).update(state=Job.State.CANCELLED, finished_at=timezone.now())
    assert RunChecks(run).find() is None


def test_checking_again_compares_no_lists_again_and_speaks_every_language(
    shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.objects.latest("pk")
    first = RunChecks(run).sum_up().content
    assert list(first.findings) == ["en", "zh-hans"]
    assert first.findings["en"][0].rule != first.findings["zh-hans"][0].rule
    monkeypatch.setattr(summaries, "compare_with_live", lambda **_: pytest.fail("compared again"))
    Coupon.objects.update(active=False)
    RunCoupon.objects.update(shopper_count=1)
    again = RunChecks(run).sum_up().content
    assert again.difference == first.difference
    assert again.findings != first.findings


def test_a_small_shop_has_nothing_to_sum_up() -> None:
    add_rows(1)
    assert not list(list_large_topics())
    assert sum_up_shop() == 0
    assert not Summary.objects.exists()


def test_the_shop_is_summed_up_as_a_whole(shop: None) -> None:
    Run.objects.filter(key="1").update(state=Run.State.DRAFTED)
    campaigns = [f"results:{campaign.pk}" for campaign in Campaign.objects.all()]
    versions = [f"calibration:{version.pk}" for version in ModelVersion.objects.all()]
    checks = f"checks:{Run.objects.get(key='1').pk}"
    changed = f"incrementality:{Campaign.objects.latest('pk').pk}"  # of the one with a holdout
    expected = sorted(["activity", "uses", "coupons", "calibration:", checks, changed, *campaigns, *versions])
    assert sum_up_shop() == len(expected)
    assert sorted(Summary.objects.values_list("key", flat=True)) == expected


@pytest.mark.parametrize("key", ["results:999", "checks:999", "calibration:999", "nonsense", ""])
def test_a_topic_that_is_not_there_is_named(key: str) -> None:
    with pytest.raises(ValueError, match="There is nothing to sum up"):
        find_topic(key=key)


def test_what_a_page_makes_by_itself_is_not_kept() -> None:
    add_rows(1)
    RunChecks(Run.objects.get()).sum_up_if_large()
    assert not Summary.objects.exists()


def test_what_a_page_could_not_wait_for_is_there_before_anybody_looks(shop: None) -> None:
    run = Run.objects.latest("pk")
    RunChecks(run).sum_up_if_large()
    assert RunChecks(run).find() is not None
