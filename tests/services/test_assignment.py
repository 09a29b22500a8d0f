"""Who is sent a campaign and who is held out: drawn the same everywhere, recorded before a run, kept once published."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender import models
from recommender.models import Campaign, CampaignSegment, CampaignShopper, Publication, Run, Segment, Shopper
from recommender.services.assignment import is_held_out, record_assignment
from recommender.services.guardrails import PublishingForbidden
from recommender.services.publishing import publish
from recommender.services.runs import NothingToRecommend, compute_run, plan_run
from recommender.services.snapshot import take_snapshot
from tests.services.small_shop import NOW, START, add_model_version, add_run, lists_of, make_shop


@pytest.fixture
def campaign(db: None, data_dir: Path) -> Campaign:
    campaign = make_shop()
    models.Shop.current()
    models.Shop.objects.update(champion=add_model_version(learned_until=START))
    return campaign


def groups(campaign: Campaign) -> dict[str, tuple[str, str]]:
    rows = campaign.campaign_shoppers.order_by("shopper__shopper_id")
    return {shopper: (group, origin) for shopper, group, origin in rows.values_list(*COLUMNS)}


COLUMNS = ("shopper__shopper_id", "group", "origin")


def hold_out(campaign: Campaign, percent: int) -> None:
    Campaign.objects.filter(pk=campaign.pk).update(holdout_percent=percent)
    campaign.refresh_from_db()


def list_shoppers(campaign: Campaign, **listed: str) -> None:
    for shopper_id, group in listed.items():
        shopper = Shopper.objects.get(shopper_id=shopper_id)
        CampaignShopper.objects.create(campaign=campaign, shopper=shopper, group=group)


def add_segment(campaign: Campaign, *product_ids: str, excluded: bool = False) -> Segment:
    """Those who bought any of some products."""
    segment = Segment.objects.create(name=f"{product_ids}", match="any")
    for product_id in product_ids:
        category, _ = models.Category.objects.get_or_create(path=product_id)
        models.Product.objects.filter(product_id=product_id).update(category=category)
        segment.conditions.create(kind="category", comparison="at_least", amount=1, category=category)
    CampaignSegment.objects.create(campaign=campaign, segment=segment, excluded=excluded)
    return segment


def record(campaign: Campaign) -> tuple[int, int]:
    assignment = record_assignment(campaign=campaign, at=NOW)
    campaign.refresh_from_db()
    assert assignment.assigned_at == campaign.assigned_at
    return assignment.sent, assignment.held_out


# The draw


def test_the_draw_is_known_by_heart() -> None:
    """Digests that this code did not compute (``printf 'spring\\0s1' | sha256sum``): the draw never changes."""
    known = {"s1": "27.2474", "s2": "79.2109"}
    for shopper_id, percent in known.items():
        above, below = Decimal(percent) + Decimal("0.1"), Decimal(percent) - Decimal("0.1")
        assert is_held_out(campaign_id="spring", shopper_id=shopper_id, percent=above)
        assert not is_held_out(campaign_id="spring", shopper_id=shopper_id, percent=below)


@given(st.text(max_size=20), st.integers(0, 900), st.integers(0, 900))
def test_a_larger_share_holds_out_the_same_and_more(campaign_id: str, one: int, other: int) -> None:
    smaller, larger = sorted(Decimal(tenths) / 10 for tenths in (one, other))

    def held_out(percent: Decimal) -> set[str]:
        shopper_ids = (f"shopper {number}" for number in range(50))
        return {one for one in shopper_ids if is_held_out(campaign_id=campaign_id, shopper_id=one, percent=percent)}

    assert held_out(smaller) <= held_out(larger)
    assert held_out(smaller) == held_out(smaller)
    assert held_out(Decimal(0)) == set()


@given(st.text(max_size=20), st.integers(10, 900))
def test_the_share_is_close_to_what_was_asked(campaign_id: str, tenths: int) -> None:
    percent, shoppers = Decimal(tenths) / 10, 4_000
    held_out = sum(
        is_held_out(campaign_id=campaign_id, shopper_id=f"shopper {number}", percent=percent)
        for number in range(shoppers)
    )
    share = float(percent) / 100
    deviation = (share * (1 - share) / shoppers) ** 0.5
    assert abs(held_out / shoppers - share) < 6 * deviation


def test_campaigns_hold_out_different_shoppers() -> None:
    drawn = [
        {number for number in range(1000) if is_held_out(campaign_id=name, shopper_id=str(number), percent=Decimal(20))}
        for name in ("spring", "summer")
    ]
    assert len(drawn[0] & drawn[1]) < 80  # 40 are expected of 200


# The record


def test_a_campaign_for_everyone_that_holds_out_nobody_records_nobody(campaign: Campaign) -> None:
    assert record(campaign) == (0, 0)
    assert campaign.assigned_at is None


def test_a_campaign_for_everyone_records_everyone_who_may_be_addressed(campaign: Campaign) -> None:
    Shopper.objects.filter(shopper_id="s1").update(opted_out=True)
    list_shoppers(campaign, s2="control")
    hold_out(campaign, 50)
    recorded = record(campaign)
    drawn = {
        shopper_id: (
            "control" if is_held_out(campaign_id="spring", shopper_id=shopper_id, percent=Decimal(50)) else "treatment",
            "audience",
        )
        for shopper_id in ("s3", "s4", "s5")
    }
    assert groups(campaign) == {"s2": ("control", "shop"), **drawn}
    assert sum(recorded) == 4


def test_the_list_of_the_shop_is_the_audience(campaign: Campaign) -> None:
    list_shoppers(campaign, s1="treatment", s2="treatment", s3="control")
    add_segment(campaign, "p3")  # the list decides
    assert record(campaign) == (2, 1)
    assert campaign.assigned_at is None
    hold_out(campaign, 90)
    assert record(campaign) == (0, 3)
    assert groups(campaign)["s1"] == ("control", "holdout")
    hold_out(campaign, 0)
    assert record(campaign) == (2, 1)
    assert groups(campaign) == {"s1": ("treatment", "shop"), "s2": ("treatment", "shop"), "s3": ("control", "shop")}


def test_segments_are_the_audience_less_the_excluded(campaign: Campaign) -> None:
    add_segment(campaign, "p1", "p3")  # s1, s2, s3, s5
    add_segment(campaign, "p2", excluded=True)  # s1, s2
    assert record(campaign) == (2, 0)
    assert groups(campaign) == {"s3": ("treatment", "audience"), "s5": ("treatment", "audience")}
    campaign.campaign_segments.filter(excluded=True).delete()
    assert record(campaign) == (4, 0)
    campaign.campaign_segments.all().delete()
    assert record(campaign) == (0, 0)


def test_recording_the_same_again_changes_nothing(campaign: Campaign) -> None:
    add_segment(campaign, "p1")
    record(campaign)
    before = (campaign.assigned_at, list(campaign.campaign_shoppers.order_by("pk").values()))
    record(campaign)
    assert (campaign.assigned_at, list(campaign.campaign_shoppers.order_by("pk").values())) == before


def test_what_was_published_keeps_its_groups_whatever_becomes_of_the_share(campaign: Campaign) -> None:
    add_segment(campaign, "p1", "p3")
    hold_out(campaign, 40)
    record(campaign)
    before = groups(campaign)
    Publication.objects.create(campaign=campaign, run=add_run(campaign), published_at=NOW, ended_at=NOW)
    hold_out(campaign, 90)
    campaign.campaign_segments.all().delete()
    record(campaign)
    assert groups(campaign) == before


# Runs


def test_a_held_out_shopper_is_on_no_list(campaign: Campaign) -> None:
    hold_out(campaign, 50)
    run = compute_run(run=plan_run(campaign=campaign, as_of=NOW, top=2))
    sent = {shopper for shopper, (group, _) in groups(campaign).items() if group == "treatment"}
    assert 0 < len(sent) < 5, "the draw of this campaign splits the five"
    assert set(lists_of(run)) == sent
    assert run.shopper_count == len(sent)


def test_segments_that_hold_nobody_are_not_for_everyone(campaign: Campaign) -> None:
    CampaignSegment.objects.create(campaign=campaign, segment=Segment.objects.create(name="nobody"))
    with pytest.raises(NothingToRecommend):
        plan_run(campaign=campaign, as_of=NOW, top=2)
    assert not Run.objects.exists()


def test_a_list_that_is_held_out_whole_is_not_for_everyone(campaign: Campaign) -> None:
    list_shoppers(campaign, s1="treatment", s2="treatment")
    hold_out(campaign, 90)
    with pytest.raises(NothingToRecommend):
        plan_run(campaign=campaign, as_of=NOW, top=2)
    assert not Run.objects.exists()


def test_segments_that_come_after_a_publication_change_nothing(campaign: Campaign) -> None:
    Publication.objects.create(campaign=campaign, run=add_run(campaign), published_at=NOW, ended_at=NOW)
    add_segment(campaign, "p1")
    assert plan_run(campaign=campaign, as_of=NOW, top=2).shopper_count == 5


def test_whoever_is_held_out_after_planning_is_on_no_list(campaign: Campaign) -> None:
    run = plan_run(campaign=campaign, as_of=NOW, top=2)
    list_shoppers(campaign, s1="control")
    assert "s1" not in lists_of(compute_run(run=run))


def test_planning_the_same_again_is_the_same_run(campaign: Campaign) -> None:
    add_segment(campaign, "p1", "p3")
    hold_out(campaign, 40)
    first = plan_run(campaign=campaign, as_of=NOW, top=2)
    assert plan_run(campaign=campaign, as_of=NOW, top=2) == first
    assert first.created_at > Campaign.objects.get().assigned_at  # type: ignore[operator]


def test_a_run_of_an_audience_that_was_decided_anew_is_not_published(campaign: Campaign) -> None:
    add_segment(campaign, "p1", "p3")
    old = compute_run(run=plan_run(campaign=campaign, as_of=NOW, top=2))
    hold_out(campaign, 60)
    new = compute_run(run=plan_run(campaign=campaign, as_of=NOW, top=2))
    with pytest.raises(PublishingForbidden, match="The audience of the campaign has changed since"):
        publish(run=old, approve=True, now=NOW)
    old.refresh_from_db()
    assert (old.state, Publication.objects.count()) == (Run.State.DRAFTED, 0)
    assert publish(run=new, approve=True, now=NOW).run == new


def test_an_audience_that_was_sent_nothing_teaches_nothing(campaign: Campaign) -> None:
    list_shoppers(campaign, s1="treatment")
    other = Campaign.objects.create(campaign_id="other", starts_at=START, ends_at=START + timedelta(days=30))
    before = take_snapshot().row_counts["campaign_shoppers"]
    add_segment(other, "p1")
    record(other)
    assert take_snapshot().row_counts["campaign_shoppers"] == before == 1
    Publication.objects.create(campaign=other, run=add_run(other), published_at=NOW)
    assert take_snapshot().row_counts["campaign_shoppers"] == 3
