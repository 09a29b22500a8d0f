"""From recommend to rollback, as a person at a terminal does it."""

import csv
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from recommender import models
from recommender.models import Run
from tests.services.small_shop import NOW, START, add_model_version, lists_of, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

AS_OF = NOW.isoformat()


@pytest.fixture(autouse=True)
def campaign(data_dir: Path) -> models.Campaign:
    campaign = make_shop()
    shop = models.Shop.current()
    shop.champion = add_model_version(learned_until=START)
    shop.save()
    return campaign


def recommend(capsys: pytest.CaptureFixture[str], *options: str) -> Run:
    call_command("recommend", "--campaign", "spring", "--as-of", AS_OF, *options)
    return Run.objects.get(pk=int(capsys.readouterr().out.splitlines()[-1]))


def test_recommend_prints_a_summary_and_the_run_alone_on_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("recommend", "--campaign", "spring", "--as-of", AS_OF, "--top", "2")
    run = Run.objects.get()
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        f"Campaign spring as of {AS_OF}, by times_bought {run.model_version_id}",
        "10 recommendations for 5 shoppers; 1.4 redemptions expected (90 % interval: 0 to 13); to review",
        str(run.pk),
    ]
    assert "Scoring shoppers" in output.err


def test_recommend_again_prints_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert recommend(capsys) == recommend(capsys)
    assert Run.objects.count() == 1


def test_recommend_by_a_named_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    named = add_model_version(learned_until=NOW - timedelta(hours=1), algorithm="named")

    assert recommend(capsys, "--algorithm", "named").model_version == named


def test_recommend_within_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    models.Coupon.objects.update(discount_type="amount", discount_value=2)
    models.Coupon.objects.filter(coupon_id="c2").update(discount_type="", discount_value=None)
    options = ("--objective", "redemptions", "--budget", "1.05", "--required-return", "0.25", "--top", "2")
    call_command("recommend", "--campaign", "spring", "--as-of", AS_OF, *options)

    *_told, within, number = capsys.readouterr().out.splitlines()
    run = Run.objects.get(pk=int(number))
    assert (run.objective, run.budget, run.required_return) == ("redemptions", Decimal("1.05"), Decimal("0.25"))
    assert within == (
        "Brings 0.5 of redemptions, at most 0.5 can be; within a budget of 1.05; one unit more would bring 0.5; left "
        "out, as what they cost or bring is not known: c2"
    )


def test_recommend_tells_which_rules_were_kept(capsys: pytest.CaptureFixture[str]) -> None:
    models.Campaign.objects.update(one_per_category=True)
    models.Product.objects.update(category=models.Category.objects.create(path="Grocery"))
    models.Shop.objects.update(contact_most=2, contact_days=30)
    segment = models.Segment.objects.create(name="Everyone")
    models.SegmentCondition.objects.create(segment=segment, kind="orders", comparison="at_least", amount=0)
    campaign = models.Campaign.objects.get()
    models.CampaignSegment.objects.create(campaign=campaign, segment=segment, at_least_uses=3)
    call_command("recommend", "--campaign", "spring", "--as-of", AS_OF)

    _campaign, _lists, contact, rules, _number = capsys.readouterr().out.splitlines()
    assert contact == "Left out: 0 shoppers who were sent 2 or more other campaigns within 30 days"
    assert rules == (
        "Brings 1.1 of redemptions; one coupon of a category on a list (categories: 1); at least 3 uses for Everyone: "
        "1.9 fewer"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--budget", "5"), "Of no coupon it is known what a use costs"),
        (("--objective", "margin"), "Of no coupon it is known what a use brings in margin"),
        (("--objective", "incremental_margin"), "Whom coupons change is learned from campaigns of which shoppers were"),
        (("--required-return", "200000"), "A required return is above 0 and at most 100000, not 200000"),
        (("--budget", "-1"), "is not an amount"),
        (("--objective", "glory"), "invalid choice: 'glory'"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(options: tuple[str, str], told: str) -> None:
    with pytest.raises(CommandError, match=told):
        call_command("recommend", "--campaign", "spring", "--as-of", AS_OF, *options)
    assert not Run.objects.exists()


def test_publish_and_rollback(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = recommend(capsys, "--top", "1"), recommend(capsys, "--top", "2")
    models.Campaign.objects.update(ends_at=timezone.now() + timedelta(days=1))
    call_command("publish", str(first.pk))
    call_command("publish", str(second.pk))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" since ")[0] for line in lines] == [
        f"Campaign spring shows run {first.pk}",
        f"Campaign spring shows run {second.pk}",
    ]
    assert models.Publication.objects.live().get().run == second

    call_command("rollback", "spring")
    call_command("rollback", "spring")
    assert capsys.readouterr().out.splitlines() == [
        f"Campaign spring shows run {first.pk} again.",
        "Campaign spring shows nothing now.",
    ]


def test_export_writes_what_is_offered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = recommend(capsys)
    run.recommendations.filter(shopper__shopper_id="s1", rank=2).update(excluded=True)
    out = tmp_path / "lists.csv"
    out.write_text("old")

    call_command("export_recommendations", str(run.pk), "--out", str(out))

    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["shopper_id", "coupon_id", "rank", "score", "reason"]
    assert rows[0] == {
        "shopper_id": "s1",
        "coupon_id": "c1",
        "rank": "1",
        "score": "0.3",
        "reason": "Buys from the same part of the shop: 3 times so far",
    }
    assert rows[1]["shopper_id"] == "s1"
    assert (rows[1]["rank"], rows[1]["reason"]) == ("3", "Never bought what this coupon is for")
    assert len(rows) == 14
    of_s3 = [(row["coupon_id"], float(row["score"])) for row in rows if row["shopper_id"] == "s3"]
    assert of_s3 == lists_of(run)["s3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "lists.csv"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["recommend", "--campaign", "winter"], "There is no campaign 'winter'."),
        (["recommend", "--campaign", "spring", "--as-of", "soon"], "'soon' is not a date"),
        (["recommend", "--campaign", "spring"], "Campaign spring ended at March 31, 2024"),
        (
            ["recommend", "--campaign", "spring", "--as-of", AS_OF, "--top", "0"],
            "Expected 1 to 1000 coupons a shopper, not 0",
        ),
        (["publish", "4711"], "There is no run 4711."),
        (["rollback", "winter"], "There is no campaign 'winter'."),
        (["rollback", "spring"], "Campaign spring has nothing published."),
        (["export_recommendations", "4711", "--out", "x.csv"], "There is no run 4711."),
    ],
)
def test_a_mistake_is_one_clear_line_and_changes_nothing(command: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command(*command)

    assert not Run.objects.exists()


def test_a_run_out_of_review_is_not_published(capsys: pytest.CaptureFixture[str]) -> None:
    run = recommend(capsys)
    Run.objects.update(state=Run.State.REJECTED)

    with pytest.raises(CommandError, match=f"Run {run.pk} is in state “rejected”"):
        call_command("publish", str(run.pk))

    assert not models.Publication.objects.exists()


def test_an_unfinished_run_is_not_exported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = recommend(capsys)
    Run.objects.update(state=Run.State.COMPUTING)

    with pytest.raises(CommandError, match="still being computed"):
        call_command("export_recommendations", str(run.pk), "--out", str(tmp_path / "lists.csv"))

    assert not (tmp_path / "lists.csv").exists()


@pytest.mark.parametrize(("out", "reason"), [("missing/lists.csv", "No such file"), ("folder", "Is a directory")])
def test_an_export_that_cannot_be_written_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, out: str, reason: str
) -> None:
    run = recommend(capsys)
    (tmp_path / "folder").mkdir()

    with pytest.raises(CommandError, match=f"{out} cannot be written: {reason}"):
        call_command("export_recommendations", str(run.pk), "--out", str(tmp_path / out))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "folder"]
    assert not list((tmp_path / "folder").iterdir())
