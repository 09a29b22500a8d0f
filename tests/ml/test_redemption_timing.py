"""When uses happen, and which part of them a moment has seen."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.ml.examples import Casebook
from recommender.ml.redemption_timing import (
    ADDED_USES,
    PARTS,
    CampaignUses,
    ObservedUses,
    RedemptionTiming,
)
from tests.ml.shops import LAST_DAY, Shop, day, numbers_of

LENGTH = 20  # days; a part of a window is one of them


def campaign(*elapsed: float, kind: str = "", start: float = 0, length: float = LENGTH) -> CampaignUses:
    """A campaign with a use at each of these shares of its window."""
    uses = pl.Series([day(start + length * share) for share in sorted(elapsed)], dtype=pl.Datetime("us", "UTC"))
    return CampaignUses(0, kind, day(start), day(start), day(start + length), uses)


def shares(timing: RedemptionTiming, of: CampaignUses, elapsed: Iterable[float]) -> list[float]:
    return [timing.share_used_by(of, of.opens_at + share * (of.closes_at - of.opens_at)) for share in elapsed]


def test_without_past_uses_they_are_spread_evenly() -> None:
    timing = RedemptionTiming.learn([campaign()])

    assert timing.uses == 0
    assert shares(timing, campaign(), (0.0, 0.13, 0.5, 1.0)) == pytest.approx([0.0, 0.13, 0.5, 1.0])


def test_nothing_is_used_before_the_window_and_all_after_it() -> None:
    timing = RedemptionTiming.learn([campaign(0.1, 0.2)])

    assert shares(timing, campaign(), (-1.0, 0.0, 1.0, 2.0)) == [0.0, 0.0, 1.0, 1.0]


def test_what_was_seen_is_drawn_towards_even() -> None:
    timing = RedemptionTiming.learn([campaign(*[0.01] * 60)])
    assert timing.uses == 60
    expected = (60 + ADDED_USES / PARTS) / (60 + ADDED_USES)
    assert shares(timing, campaign(kind="another"), [1 / PARTS]) == pytest.approx([expected])


def test_campaigns_of_different_lengths_are_alike_by_the_share_of_their_windows() -> None:
    timing = RedemptionTiming.learn([campaign(0.1, 0.3, length=10), campaign(0.6, length=40)])
    same = RedemptionTiming.learn([campaign(0.1, 0.3, 0.6)])

    np.testing.assert_array_equal(timing.overall, same.overall)
    assert shares(timing, campaign(length=7), [0.4]) == pytest.approx(shares(timing, campaign(length=70), [0.4]))


def test_a_kind_has_its_own_spread_drawn_towards_all() -> None:
    early, late = campaign(*[0.02] * 40, kind="early"), campaign(*[0.98] * 40, kind="late")
    timing = RedemptionTiming.learn([early, late])

    (of_early,), (of_late,), (of_other,) = (
        shares(timing, campaign(kind=kind), [0.5]) for kind in ("early", "late", "unknown")
    )
    assert of_other == pytest.approx(0.5)
    assert of_early == pytest.approx((40 + ADDED_USES / 2) / (40 + ADDED_USES))
    assert of_late == pytest.approx(1 - of_early)


def test_a_use_after_the_end_counts_to_the_last_part() -> None:
    np.testing.assert_array_equal(
        RedemptionTiming.learn([campaign(1.5)]).overall, RedemptionTiming.learn([campaign(1.0)]).overall
    )


def test_a_window_of_no_length_is_over_when_it_closes() -> None:
    none = campaign(length=0)

    assert [none.elapsed(day(number)) for number in (-1, 0, 1)] == [0.0, 1.0, 1.0]


@given(
    uses=st.lists(st.floats(0, 1), max_size=50),
    times=st.lists(st.floats(-0.5, 1.5), min_size=2, max_size=20).map(sorted),
)
def test_the_share_never_falls_and_grows_within_the_window(uses: list[float], times: list[float]) -> None:
    timing = RedemptionTiming.learn([campaign(*uses)])
    found = shares(timing, campaign(), times)

    assert all(0 <= share <= 1 for share in found)
    assert all(earlier <= later for earlier, later in pairwise(found))
    assert (np.diff(timing.overall) > 0).all()


# From a shop


def two_campaigns(until: float) -> Shop:
    """One of thirty days whose four uses fall into its first day, and one of the same kind that starts at day 100."""
    shop = Shop().coupon("c")
    shoppers = [f"s{number}" for number in range(40)]
    shop.campaign("first", day(0), day(30), ["c"], shoppers)
    shop.campaign("second", day(100), day(130), ["c"], shoppers)
    for shopper in shoppers[:20]:
        shop.redeem(shopper, "c", "first", day(1))
        shop.redeem(shopper, "c", "first", day(20))  # the same pair again
    shop.sell("s0", day(until), "p")
    return shop


def test_uses_are_those_of_the_labels(casebook: Casebook) -> None:
    observed = ObservedUses(casebook)

    assert list(observed.campaigns) == casebook.campaigns["campaign"].to_list()
    for number, uses in observed.campaigns.items():
        assert uses.first_uses.is_sorted()
        for moment in (day(100), day(160), day(LAST_DAY)):
            assert uses.count_before(moment) == casebook.labels(number, moment).sum()


def test_known_is_what_finished_campaigns_taught(casebook: Casebook) -> None:
    observed = ObservedUses(casebook)
    for number in (80, 111, 145, 205, LAST_DAY):
        moment = day(number)
        teaching = casebook.teaching(moment)
        assert [uses.campaign for uses in observed.over_before(moment)] == teaching
        assert observed.known_before(moment) == sum(casebook.labels(each, moment).sum() for each in teaching)


def test_a_campaign_counts_from_the_decision_on_its_offers(tmp_path: Path) -> None:
    shop = two_campaigns(until=200).offer("first", "s0", "c", day(1.5)).offer("second", "s0", "c", day(90))
    shop.redeem("s0", "c", "first", day(15.75))
    snapshot = shop.write(tmp_path / "shop")
    observed, numbers = ObservedUses(Casebook(snapshot)), numbers_of(snapshot, "campaign")

    first, second = (observed.campaigns[numbers[name]] for name in ("first", "second"))
    assert (first.opens_at, first.first_uses.to_list()) == (day(1.5), [day(15.75)])
    assert first.elapsed(day(15.75)) == 0.5
    assert (second.decided_at, second.opens_at) == (day(90), day(100)), "nothing is used before the campaign starts"


@pytest.mark.parametrize(("until", "share"), [(100, 0.0), (115, (20 + 20 * 0.75) / 40), (130, 1.0), (500, 1.0)])
def test_expected_shares_end_with_the_data(tmp_path: Path, until: float, share: float) -> None:
    """All twenty uses that were seen fell into the first half. Of all campaigns' uses so do 3/4, the twenty added ones
    being spread evenly; the kind's are drawn towards these 3/4 by twenty more.
    """
    assert ADDED_USES == 20
    snapshot = two_campaigns(until).write(tmp_path / "shop")
    casebook, second = Casebook(snapshot), numbers_of(snapshot, "campaign")["second"]
    assert ObservedUses(casebook).data_end == day(until)

    assert ObservedUses(casebook).expected_share(second, day(1_000)) == pytest.approx(share)


def test_a_moment_before_the_end_of_data_cuts_too(tmp_path: Path) -> None:
    snapshot = two_campaigns(until=500).write(tmp_path / "shop")
    observed, numbers = ObservedUses(Casebook(snapshot)), numbers_of(snapshot, "campaign")

    assert [observed.expected_share(numbers[name], day(100)) for name in ("first", "second")] == [1.0, 0.0]


def test_later_uses_move_no_share(tmp_path: Path) -> None:
    """Neither those of running campaigns nor those of later ones."""
    before, after = two_campaigns(until=500), two_campaigns(until=500)
    for shopper in range(20, 40):
        after.redeem(f"s{shopper}", "c", "second", day(129))
    one, other = (
        ObservedUses(Casebook(shop.write(tmp_path / name))) for name, shop in (("before", before), ("after", after))
    )
    for campaign in one.campaigns:
        assert one.expected_share(campaign, day(115)) == other.expected_share(campaign, day(115))


def test_without_orders_and_redemptions_nothing_ends_observation(tmp_path: Path) -> None:
    snapshot = Shop().coupon("c").campaign("only", day(0), day(10), ["c"], ["s"]).write(tmp_path / "shop")
    observed = ObservedUses(Casebook(snapshot))

    assert observed.data_end is None
    assert [observed.expected_share(campaign, day(5)) for campaign in observed.campaigns] == pytest.approx([0.5])


def test_times_of_any_zone(tmp_path: Path) -> None:
    snapshot = two_campaigns(until=500).write(tmp_path / "shop")
    local = datetime.fromisoformat((day(115) + timedelta(hours=9)).isoformat().replace("+00:00", "+09:00"))
    observed, second = ObservedUses(Casebook(snapshot)), numbers_of(snapshot, "campaign")["second"]
    assert 0 < observed.expected_share(second, local) < 1
    assert observed.expected_share(second, local) == observed.expected_share(second, day(115))


def test_a_window_that_data_end_in_teaches_nothing(tmp_path: Path) -> None:
    """By the calendar it is over at day 40."""
    shop = two_campaigns(until=25)
    early = ObservedUses(Casebook(shop.write(tmp_path / "early")))
    shop.sell("s0", day(35), "p")
    late = ObservedUses(Casebook(shop.write(tmp_path / "late")))

    assert (early.known_before(day(40)), late.known_before(day(40))) == (0, 20)
    assert (len(early.over_before(day(40))), len(late.over_before(day(40)))) == (0, 1)
