"""Unique codes: made by the million, typed as people type, each used once."""

import csv
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from recommender.jobs import start_job
from recommender.models import Code, CodeBatch, Coupon, Job
from recommender.models.code_entry import normalise_code
from recommender.models.codes import ALPHABET
from recommender.progress import Cancelled, Progress
from recommender.services.checkout import codes
from recommender.services.checkout.codes import add_batch, draw, export_codes, make_codes, show_code
from recommender.services.checkout.offers import Asked, find_by_public_code
from recommender.services.checkout.refusals import CheckoutRefused, UnknownThing
from recommender.services.checkout.reserving import LIFETIME, reserve, validate
from recommender.services.checkout.settling import confirm, release, reverse
from recommender.tasks import run_job
from tests.services.checkout.shop import NOW, basket, count_by_sql, make_coupon, make_shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def coupon() -> Coupon:
    make_shop()
    return make_coupon()


def by_code(entered: str, *, shopper: str = "anna", at: Any = NOW) -> str:
    """The reservation that a code gives, or why it gives none."""
    try:
        return str(reserve(shopper_id=shopper, basket=basket(), asked=[Asked(code=entered)], at=at)[0].reservation_id)
    except CheckoutRefused as refused:
        return refused.coupons[0].code


@pytest.mark.parametrize(
    "entered",
    [
        "SPRING-7X0A-1B2C",
        "spring 7xoa lb2c",
        "  sprlng-7XOA-IB2C ",
        "SPR1NG.7x0a_1b2c",
        "ＳＰＲＩＮＧ７Ｘ０Ａ１Ｂ２Ｃ",
        # As keyboards make one dash of two, and mails break, join and hide.
        "SPRING—7X0A–1B2C",
        "SPRING‑7X0A‐1B2C",
        "SPRING\u00a07X0A\u200b1B2C\u2060",
        "\ufeffSPRING\u00ad7X0A-1B2C\r\n",
    ],
)
def test_case_dashes_and_look_alikes_do_not_matter(entered: str) -> None:
    assert normalise_code(entered) == "SPR1NG7X0A1B2C"


def test_characters_are_random_and_all_there() -> None:
    drawn = draw(2_000, 12)
    assert len(set(drawn)) == 2_000
    assert {len(code) for code in drawn} == {12}
    text = "".join(drawn)
    assert set(text) == set(ALPHABET)
    counts = [text.count(character) for character in ALPHABET]
    assert min(counts) > 500, "24,000 characters of 32: 750 of each, give or take 28"
    assert max(counts) < 1_000
    assert all(normalise_code(code) == code for code in drawn)


def test_a_batch_is_made_once(coupon: Coupon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "MADE_AT_ONCE", 40)
    batch = add_batch(coupon_id="c", count=100, prefix="Spring", length=10)
    assert make_codes(batch_id=batch.pk) == 100
    assert make_codes(batch_id=batch.pk) == 0
    made = list(Code.objects.filter(batch=batch).values_list("code", "uses"))
    assert len(set(made)) == 100
    assert all(code.startswith("SPR1NG") and len(code) == 16 and uses == 0 for code, uses in made)
    batch.refresh_from_db()
    assert (batch.made, batch.is_complete) == (100, True)


def test_a_job_that_was_stopped_goes_on(coupon: Coupon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "MADE_AT_ONCE", 40)
    batch = add_batch(coupon_id="c", count=100)

    class StopsAt80(Progress):
        def report(self, message: str, done: int = 0, total: int | None = None) -> None:
            if done == 80:
                raise Cancelled

    with pytest.raises(Cancelled):
        make_codes(batch_id=batch.pk, progress=StopsAt80())
    assert Code.objects.count() == 80
    job = start_job(kind=Job.Kind.CODES, key="codes", arguments={"batch": batch.pk})
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result) == (Job.State.SUCCEEDED, {"codes": 20})
    assert Code.objects.count() == 100


def test_a_code_that_is_there_already_is_drawn_anew(coupon: Coupon, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = add_batch(coupon_id="c", count=2)
    Code.objects.create(code="A" * 12, batch=batch)
    drawn = iter([["A" * 12, "B" * 12], ["C" * 12, "D" * 12]])
    monkeypatch.setattr(codes, "draw", lambda count, length: next(drawn))
    assert make_codes(batch_id=batch.pk) == 2
    assert set(Code.objects.values_list("code", flat=True)) == {"A" * 12, "C" * 12, "D" * 12}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 10_000_001}, "count"),
        ({"length": 9}, "length"),
        ({"prefix": "A-B"}, "prefix"),
    ],
)
def test_a_batch_that_cannot_be(coupon: Coupon, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        add_batch(**{"coupon_id": "c", "count": 1, **wrong})
    assert list(error.value.message_dict) == [field]
    assert not CodeBatch.objects.exists()


def test_a_batch_of_nothing(coupon: Coupon) -> None:
    with pytest.raises(UnknownThing):
        add_batch(coupon_id="nothing", count=1)
    with pytest.raises(UnknownThing):
        make_codes(batch_id=1)


def test_the_file_shows_codes_as_people_read_them(coupon: Coupon) -> None:
    batch = add_batch(coupon_id="c", count=3, prefix="Oil")
    make_codes(batch_id=batch.pk)
    Code.objects.filter(pk=Code.objects.earliest("pk").pk).update(uses=1)
    rows = list(csv.reader(StringIO("".join(export_codes(batch=batch)))))
    kept = list(Code.objects.order_by("pk").values_list("code", flat=True))
    assert rows[0] == ["code", "used"]
    assert [normalise_code(code) for code, _used in rows[1:]] == kept
    assert [used for _code, used in rows[1:]] == ["1", "0", "0"]
    assert show_code("01L7X0A1B2C9", prefix="Oil") == "OIL-7X0A-1B2C-9"
    assert show_code("7X0A1B2C", prefix="") == "7X0A-1B2C"


def test_a_code_holds_once_and_comes_back_with_its_use(coupon: Coupon) -> None:
    batch = add_batch(coupon_id="c", count=1)
    make_codes(batch_id=batch.pk)
    code = Code.objects.get().code
    first = by_code(code.lower())
    assert by_code(code, shopper="ben") == "code_used"
    assert validate(shopper_id="ben", basket=basket(), asked=[Asked(code=code)], at=NOW).refused[0].code == "code_used"
    release(reservation_id=first, at=NOW)  # type: ignore[arg-type]
    second = by_code(code, shopper="ben")
    third = by_code(code, at=NOW + LIFETIME)  # Ben forgot it
    confirm(reservation_id=third, order_id="o", at=NOW + LIFETIME)  # type: ignore[arg-type]
    assert by_code(code, at=NOW + 5 * LIFETIME) == "code_used"
    with pytest.raises(CheckoutRefused) as refusal:
        confirm(reservation_id=second, order_id="o2", at=NOW + LIFETIME)  # type: ignore[arg-type]
    assert refusal.value.code == "code_used"
    assert count_by_sql() == {"c": (1, Decimal(2))}
    reverse(reservation_id=third, at=NOW + LIFETIME)  # type: ignore[arg-type]
    assert Code.objects.get().uses == 0
    with pytest.raises(IntegrityError):
        Code.objects.update(uses=2)


def test_a_coupon_with_codes_is_used_by_a_code_only(coupon: Coupon) -> None:
    add_batch(coupon_id="c", count=1)
    refused = validate(shopper_id="anna", basket=basket(), asked=[Asked("c")], at=NOW).refused
    assert [each.code for each in refused] == ["code_needed"]


def test_one_public_code_for_all(coupon: Coupon) -> None:
    Coupon.objects.update(code="Tea-Oil 10")
    assert len(by_code("teaoill0")) == 36
    assert len(by_code("TEA 0IL-1O", shopper="ben")) == 36
    assert len(by_code("Tea–Oil\u00a010", shopper="ben")) == 36
    assert by_code("") == by_code("-") == by_code("teaoil") == "unknown_code"


@pytest.mark.parametrize("chosen", ["ＴＥＡ 双十一", "été", "Straße-1", "I'll 100%", "TEA–20"])
def test_a_public_code_is_found_as_it_was_chosen_whatever_it_is_made_of(chosen: str, coupon: Coupon) -> None:
    Coupon.objects.update(code=chosen)
    assert len(by_code(chosen)) == len(by_code(f" {chosen} ", shopper="ben")) == 36


def test_a_public_code_is_found_by_an_index(coupon: Coupon) -> None:
    Coupon.objects.bulk_create(Coupon(coupon_id=f"other-{n}", code=f"other-{n}") for n in range(2_000))
    with CaptureQueriesContext(connection) as found:
        assert find_by_public_code("tea") == []
    (query,) = [each["sql"] for each in found]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE recommender_coupon")
        cursor.execute(f"EXPLAIN {'' if connection.vendor == 'postgresql' else 'QUERY PLAN'} {query}")
        plan = str(cursor.fetchall())
    assert "coupon_code_normalised" in plan, plan
    assert "SCAN" not in plan


def test_a_public_code_is_that_of_the_campaign_that_runs(coupon: Coupon) -> None:
    from recommender.models import Campaign

    Coupon.objects.update(code="TEA")
    Campaign.objects.create(campaign_id="summer", starts_at=NOW - LIFETIME, ends_at=NOW + LIFETIME)
    Campaign.objects.filter(campaign_id="spring").update(ends_at=NOW)
    make_coupon("later", campaign="summer", code="tea")
    quote = validate(shopper_id="anna", basket=basket(), asked=[Asked(code="tea")], at=NOW)
    assert [each.applied.coupon_id for each in quote.given] == ["later"]


def test_the_same_coupon_by_two_codes_is_used_once(coupon: Coupon) -> None:
    batch = add_batch(coupon_id="c", count=2)
    make_codes(batch_id=batch.pk)
    asked = [Asked(code=code) for code in Code.objects.order_by("pk").values_list("code", flat=True)]
    quote = validate(shopper_id="anna", basket=basket(), asked=[*asked, asked[0]], at=NOW)
    assert len(quote.given) == 1
    assert [(each.asked, each.code) for each in quote.refused] == [(asked[1].code, "asked_for_twice")]


def test_whoever_opted_out_may_still_type_a_code(coupon: Coupon) -> None:
    from recommender.models import Shopper

    Shopper.objects.update(opted_out=True)
    Coupon.objects.update(code="TEA")
    assert len(by_code("tea")) == 36
    quote = validate(shopper_id="anna", basket=basket(), asked=[Asked("c")], at=NOW)
    assert [each.code for each in quote.refused] == ["shopper_opted_out"]
