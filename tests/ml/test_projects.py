"""How far shoppers are in projects, and that nothing later is known of it."""

from pathlib import Path

import polars as pl
import pytest

from recommender.ml.features import GROUPS, PairFeatures, told_by
from recommender.ml.history import Snapshot
from recommender.ml.leaks import Occasion, moved_columns, with_another_future
from recommender.ml.projects import (
    BOUGHT_ALREADY,
    DAYS_IN_STAGE,
    IN_PROJECT,
    MOST_STAGES,
    NO_PROJECTS,
    NOT_FINISHED,
    STAGE_GONE,
    STAGES_AHEAD,
    STAGES_BEHIND,
    ProjectsOfCoupons,
)
from tests.ml.shops import Shop, day, numbers_of, pairs_of

NOW = 100


def house() -> Shop:
    """Walls need paint, then rollers or tape, then pictures; a floor needs tape and then boards. Coupons for each, for
    tea, for paint or tea, for rollers or boards, and for the whole shop."""
    shop = Shop().stage("walls", 10, "paint").stage("walls", 20, "rollers", "tape").stage("walls", 35, "pictures")
    shop.stage("floor", 1, "tape").stage("floor", 2, "boards").product("tea")
    for name in ("paint", "rollers", "tape", "pictures", "boards", "tea"):
        shop.coupon(f"V-{name}", name)
    shop.coupon("V-paint-or-tea", "paint", "tea").coupon("V-rollers-or-boards", "rollers", "boards").coupon("V-all")
    shop.sell("nobody", day(1), "tea")
    return shop


def told(shop: Shop, tmp_path: Path, *pairs: tuple[str, str], at: float = NOW) -> list[dict[str, float]]:
    snapshot = shop.write(tmp_path / "shop")
    asked = pairs_of(snapshot, pairs)
    coupons = pl.Series("coupon", [*numbers_of(snapshot, "coupon").values()], dtype=pl.UInt32)
    return ProjectsOfCoupons(snapshot.before(day(at)), coupons).describe(asked, asked["shopper"]).to_dicts()


def facts(
    ahead: float = MOST_STAGES, behind: float = 0, days: float = 0, gone: float = 0, bought: float = 0
) -> dict[str, float]:
    """Of a project that the shopper is in."""
    return {
        NOT_FINISHED: 1,
        IN_PROJECT: 1,
        STAGES_AHEAD: ahead,
        STAGES_BEHIND: behind,
        BOUGHT_ALREADY: bought,
        DAYS_IN_STAGE: days,
        STAGE_GONE: gone,
    }


def test_a_project_stands_at_the_last_stage_that_anything_was_bought_of(tmp_path: Path) -> None:
    shop = house()
    shop.sell("anna", day(60), "paint")
    shop.sell("anna", day(80), "rollers")
    shop.sell("anna", day(90), "boards", quantity=0.0)  # is none
    names = ("paint", "rollers", "pictures", "boards", "tea", "paint-or-tea", "tape")

    found = told(shop, tmp_path, *(("anna", f"V-{name}") for name in names))

    assert found == [
        facts(behind=1, days=20, bought=1),
        facts(days=20, bought=1),
        facts(ahead=1, days=20),
        NO_PROJECTS,
        NO_PROJECTS,
        facts(behind=1, days=20, bought=1),
        facts(ahead=0, days=20),
    ]


def test_of_several_projects_the_one_that_needs_it_first_tells(tmp_path: Path) -> None:
    shop = house()
    shop.sell("anna", day(60), "paint")
    shop.sell("anna", day(70), "tape")  # for the walls and for the floor

    found = told(shop, tmp_path, ("anna", "V-rollers-or-boards"), ("anna", "V-boards"), ("anna", "V-tape"))

    assert found == [facts(ahead=0, days=30), facts(ahead=1, days=30), facts(days=30, bought=1)]


def test_days_in_a_stage_are_compared_with_those_of_others(tmp_path: Path) -> None:
    shop = house()
    for who, wait in (("ben", 10), ("carl", 20), ("dora", 60)):
        shop.sell(who, day(5), "paint")
        shop.sell(who, day(5 + wait), "rollers")
    shop.sell("anna", day(90), "paint")

    assert told(shop, tmp_path, ("anna", "V-rollers")) == [facts(ahead=1, days=10, gone=0.5)]


def test_what_is_bought_is_of_its_kind_whatever_the_product(tmp_path: Path) -> None:
    shop = Shop().product("white paint", "Paint").product("red paint", "Paint").stage("walls", 2, "rollers")
    shop.stage("walls", 1, "white paint", "red paint").stage("walls", 3, "pictures").coupon("V-red", "red paint")
    shop.sell("anna", day(60), "white paint")
    shop.sell("ben", day(60), "rollers")

    assert told(shop, tmp_path, ("anna", "V-red"), ("ben", "V-red")) == [
        facts(days=40, bought=1),
        facts(behind=1, days=40),
    ]


def test_who_bought_of_the_last_stage_has_finished_until_they_begin_again(tmp_path: Path) -> None:
    shop = house().shopper("bob")
    for at, product in ((10, "paint"), (20, "rollers"), (30, "pictures"), (40, "rollers")):
        shop.sell("anna", day(at), product)
        shop.sell("eve", day(at), product)
    shop.sell("carl", day(50), "pictures", "paint")
    shop.sell("eve", day(60), "paint")
    names = ("paint", "rollers", "tape", "paint-or-tea", "rollers-or-boards", "all")

    found = told(
        shop, tmp_path, *((who, f"V-{name}") for who in ("anna", "bob", "carl") for name in names), ("eve", "V-rollers")
    )

    may_have = [each[NOT_FINISHED] for each in found]
    assert may_have[:6] == [0, 0, 1, 1, 1, 1]  # the tape is for floors as well
    assert may_have[6:12] == [1] * 6
    assert may_have[12:18] == [0, 0, 1, 1, 1, 1]
    assert found[18] == facts(ahead=1, days=40, gone=found[18][STAGE_GONE])


def test_what_is_finished_later_is_not_finished(tmp_path: Path) -> None:
    shop = house()
    shop.sell("anna", day(NOW), "pictures")

    assert told(shop, tmp_path, ("anna", "V-paint")) == [NO_PROJECTS]


def test_a_shop_without_projects_is_told_nothing_and_shown_nothing(tmp_path: Path) -> None:
    shop = Shop().coupon("V", "tea")
    shop.sell("anna", day(1), "tea")
    snapshot = shop.write(tmp_path / "shop")
    pairs = pairs_of(snapshot, [("anna", "V")])
    described = PairFeatures().prepare(snapshot.before(day(NOW)), pairs["coupon"]).describe(pairs)

    assert described.select(GROUPS["projects"]).to_dicts() == [NO_PROJECTS]
    assert not set(told_by(described)) & set(NO_PROJECTS)
    other = described.with_columns(pl.lit(1.0, dtype=pl.Float32).alias(IN_PROJECT))
    assert set(told_by(pl.concat([described, other]))) >= set(NO_PROJECTS)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Projects are begun, go on and are finished before and after the moment."""
    shop = house()
    for number in range(30):
        for stage, product in enumerate(("paint", "rollers", "pictures", "paint")):
            shop.sell(f"s{number:02}", day(4 * number + (10 + number) * stage + 0.5), product)
        shop.sell(f"s{number:02}", day(5 * number + 0.2), "tape", "boards" if number % 2 else "tea")
    return shop.write(tmp_path_factory.mktemp("projects") / "shop")


def test_nothing_later_is_known_of_projects(busy: Snapshot, tmp_path: Path) -> None:
    coupons = sorted(numbers_of(busy, "coupon"))
    pairs = pairs_of(busy, [(f"s{number:02}", coupon) for number in range(30) for coupon in coupons])
    occasion = Occasion(
        "now", day(NOW), pairs["coupon"].unique(), pairs, pl.repeat(False, len(pairs), eager=True).to_numpy()
    )
    other = with_another_future(busy, occasion, tmp_path / "future", seed=1)

    assert moved_columns(PairFeatures(), busy, other, occasion) == []
    # and there is something to see
    now, later = (
        ProjectsOfCoupons(busy.before(day(at)), occasion.coupons).describe(pairs, pairs["shopper"]) for at in (NOW, 140)
    )
    assert all(not now[name].equals(later[name]) for name in NO_PROJECTS)
