"""Expected and counted uses of published runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recommender.models import Campaign, Coupon, Publication, Recommendation, Redemption, Run, Shopper
from recommender.services.drift import CalibrationDrift, RunOutcome, Verdict, measure_calibration
from tests.services.small_shop import add_model_version, add_run

pytestmark = pytest.mark.django_db

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = START + 60 * DAY


def add_published(name: str, *, expected: float = 2.0, low: int = 1, high: int = 3, used: int = 0, of: int = 4) -> Run:
    """A published run of a campaign of ten days, that lists a coupon for some shoppers, of whom some used it."""
    campaign = Campaign.objects.create(campaign_id=name, starts_at=START, ends_at=START + 10 * DAY)
    run = add_run(campaign, state=Run.State.PUBLISHED)
    Run.objects.filter(pk=run.pk).update(expected_redemptions=expected, expected_low=low, expected_high=high)
    Publication.objects.create(campaign=campaign, run=run, published_at=START)
    coupon = Coupon.objects.create(coupon_id=name)
    for number in range(of):
        shopper = Shopper.objects.create(shopper_id=f"{name}-{number}")
        Recommendation.objects.create(run=run, shopper=shopper, coupon=coupon, rank=1, score=0.5)
        if number < used:
            use(run, shopper, START + DAY)
    return run


def use(run: Run, shopper: Shopper, at: datetime) -> None:
    coupon = Coupon.objects.get(coupon_id=run.campaign.campaign_id)
    Redemption.objects.create(shopper=shopper, coupon=coupon, campaign=run.campaign, redeemed_at=at)


def happen_later() -> None:
    """Data go to after the campaigns' ends."""
    other = Coupon.objects.create(coupon_id="other")
    Redemption.objects.create(shopper=Shopper.objects.create(shopper_id="x"), coupon=other, redeemed_at=NOW - DAY)


def test_nothing_is_known_before_a_campaign_is_over() -> None:
    run = add_published("one", used=1)
    for now in (START + 9 * DAY, NOW):  # by the clock it is over then, but data do not go so far
        assert measure_calibration(now=now) == CalibrationDrift([], 0, 0.0, 0.0, 0)
    happen_later()
    found = measure_calibration(now=NOW)
    assert [(outcome.run, outcome.expected, outcome.used) for outcome in found.runs] == [(run, 2.0, 1)]


def test_an_offer_counts_once_and_only_while_it_was_on_show() -> None:
    run = add_published("one", used=1)
    happen_later()
    first, second, third, _fourth = Shopper.objects.filter(shopper_id__startswith="one").order_by("shopper_id")
    use(run, first, START + 2 * DAY)
    use(run, second, START - DAY)
    use(run, third, START + 10 * DAY)
    use(run, Shopper.objects.create(shopper_id="not on a list"), START + DAY)
    assert measure_calibration(now=NOW).used == 1


@pytest.mark.parametrize(
    ("used", "verdict", "warns"),
    [(0, Verdict.FEWER, True), (1, Verdict.HOLDS, False), (3, Verdict.HOLDS, False), (4, Verdict.MORE, True)],
)
def test_uses_outside_of_what_was_expected_are_drift(used: int, verdict: Verdict, warns: bool) -> None:
    add_published("one", used=used)
    happen_later()
    found = measure_calibration(now=NOW)
    assert (found.verdict, found.warns, found.ratio) == (verdict, warns, used / 2)
    assert (found.low, found.high) == pytest.approx((2 - 1.96 / 1.645, 2 + 1.96 / 1.645))


def test_runs_are_taken_together() -> None:
    """Each is inside its own interval; all on the same side is too much."""
    for number in range(4):
        add_published(f"c{number}", used=1)
    happen_later()
    found = measure_calibration(now=NOW)
    assert [outcome.inside for outcome in found.runs] == [True] * 4
    assert (found.expected, found.used, found.verdict) == (8.0, 4, Verdict.FEWER)
    assert found.low == pytest.approx(8 - 1.96 * 2 / 1.645)


def test_the_runs_of_one_version_can_be_asked_for(data_dir: Path) -> None:
    run = add_published("one", used=1)
    happen_later()
    other = add_model_version(learned_until=START)
    assert measure_calibration(version=run.model_version, now=NOW).used == 1
    assert measure_calibration(version=other, now=NOW).verdict is Verdict.UNKNOWN


def test_the_first_publication_of_a_campaign_counts() -> None:
    run = add_published("one", used=1)
    happen_later()
    later = add_run(run.campaign, state=Run.State.PUBLISHED)
    Run.objects.filter(pk=later.pk).update(expected_redemptions=1, expected_low=0, expected_high=1)
    Publication.objects.update(ended_at=START + DAY)
    Publication.objects.create(campaign=run.campaign, run=later, published_at=START + DAY)
    assert measure_calibration(now=NOW).runs == [RunOutcome(run, 2.0, 1, 3, 1)]
