"""Queries that are built once give what the query sets give, whatever they are asked."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import BigIntegerField, CharField, DateTimeField, F
from django.test.utils import CaptureQueriesContext

from recommender.compiled import Compiled, _prepared
from recommender.models import Coupon, Job

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def make_coupons(*names: str, **fields: Any) -> list[Coupon]:
    return [Coupon.objects.create(coupon_id=name, **fields) for name in names]


@pytest.mark.django_db
def test_rows_are_those_of_the_query_set() -> None:
    make_coupons("a", "b", starts_at=NOW, discount_value=Decimal("1.5"), title="100 % or ' off")
    make_coupons("c", starts_at=NOW + timedelta(days=1))
    columns = ("coupon_id", "discount_value", "starts_at", "segment__name", "title")

    def build(at: Any) -> Any:
        return Coupon.objects.open_at(at).filter(title__contains="%").order_by("-coupon_id")

    rows = Compiled(lambda at: build(at).values(*columns), at=DateTimeField())
    models = Compiled(build, at=DateTimeField())
    names = Compiled(lambda at: build(at).values_list("coupon_id", flat=True), at=DateTimeField())
    for moment in (NOW, NOW - timedelta(seconds=1)):
        assert rows(at=moment) == list(build(moment).values(*columns))
        assert models(at=moment) == list(build(moment))
        assert names(at=moment) == list(build(moment).values_list("coupon_id", flat=True))
    assert [row["discount_value"] for row in rows(at=NOW)] == [Decimal("1.5")] * 2
    assert models(at=NOW)[0].starts_at == NOW


@pytest.mark.django_db
def test_json_is_read_as_the_query_set_reads_it() -> None:
    for number, arguments in enumerate(({"ß": [1, 2.5, None, True, {"": "\u2028"}]}, [], "text", None)):
        Job.objects.create(kind=Job.Kind.TRAIN, arguments=arguments or {}, result=arguments, key=str(number))
    columns = ("arguments", "result")
    rows = Compiled(lambda: Job.objects.order_by("pk").values(*columns))
    assert rows() == list(Job.objects.order_by("pk").values(*columns))
    assert rows()[0]["arguments"] == {"ß": [1, 2.5, None, True, {"": "\u2028"}]}
    key = Compiled(lambda: Job.objects.order_by("pk").values_list("arguments__ß", flat=True))
    assert key() == list(Job.objects.order_by("pk").values_list("arguments__ß", flat=True))


@pytest.mark.django_db
def test_any_number_of_values_takes_few_statements() -> None:
    coupons = make_coupons(*"abcdefg")
    by_key = Compiled(lambda keys: Coupon.objects.filter(pk__in=keys).order_by("pk"), keys=[BigIntegerField()])
    by_segment = Compiled(lambda keys: Coupon.objects.filter(segment__in=keys), keys=[BigIntegerField()])
    for count in range(1, 8):
        assert by_key(keys=[coupon.pk for coupon in coupons[:count]]) == coupons[:count]
    assert by_segment(keys=[1, 2, 3]) == []
    assert len(by_key._statements) == 4  # for 1, 2, 4 and 8


@pytest.mark.django_db
def test_a_query_is_built_once() -> None:
    built = []

    def build(name: Any) -> Any:
        built.append(name)
        return Coupon.objects.filter(coupon_id=name, offer_id=F("offer_id"))

    find = Compiled(build, name=CharField())
    make_coupons("a", "b")
    assert [find(name=name)[0].coupon_id for name in "abab"] == list("abab")
    assert find(name="a' OR 'a'='a") == []
    assert len(built) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite plans in no time")
def test_on_postgresql_the_plan_is_kept_and_made_anew_where_it_is_lost() -> None:
    find = Compiled(lambda name: Coupon.objects.filter(coupon_id=name, title="5 %"), name=CharField())
    make_coupons("a", title="5 %")
    with CaptureQueriesContext(connection) as queries:
        assert [len(find(name=name)) for name in ("a", "b", "a")] == [1, 0, 1]
    assert [query["sql"].split()[0] for query in queries] == ["PREPARE", "EXECUTE", "EXECUTE", "EXECUTE"]
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")  # as when a pooler hands out another connection
    assert len(find(name="a")) == 1
    assert len(find(name="a")) == 1
    assert len(_prepared[connection.connection]) == 1
    _prepared.clear()  # and as when another process used this one before
    assert len(find(name="a")) == 1
    connection.close()
    assert len(find(name="a")) == 1
