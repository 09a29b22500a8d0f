"""Segments with their counts, and who belongs to one."""

from collections.abc import Callable
from typing import Any

import pytest

from recommender.models import Segment, Shopper

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _only_our_own(shop: None) -> None:
    Segment.objects.exclude(pk=1000).delete()


def test_the_list(call: Call, golden: Callable[..., None]) -> None:
    golden(call("GET", "segments"), "segments")
    Shopper.objects.filter(shopper_id="anna").update(opted_out=True)
    (segment,) = call("GET", "segments").json()["segments"]
    assert (segment["shoppers"], segment["opted_out"]) == (0, 1)


def test_page_by_page(call: Call) -> None:
    for number in range(4):
        Segment.objects.create(pk=2000 + number, name=str(number))
    found, cursor = [], ""
    while cursor is not None:
        page = call("GET", f"segments?limit=2{cursor and '&cursor=' + cursor}").json()
        found += [segment["segment_id"] for segment in page["segments"]]
        cursor = page["next"]
    assert found == [1000, 2000, 2001, 2002, 2003]


@pytest.mark.parametrize("query", ["limit=0", "limit=51", "cursor=x", "cursor=WyJ4Il0"])
def test_parameters_that_cannot_be_read(query: str, call: Call) -> None:
    answer = call("GET", f"segments?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


def test_membership(call: Call, golden: Callable[..., None]) -> None:
    golden(call("GET", "segments/1000/shoppers/anna"), "membership")
    assert call("GET", "segments/1000/shoppers/ben").json()["member"] is False
    nobody, nothing = call("GET", "segments/1000/shoppers/nobody"), call("GET", "segments/999/shoppers/anna")
    golden(nobody, "unknown_shopper")
    assert (nobody.status_code, nothing.status_code, nothing.json()["code"]) == (404, 404, "unknown_segment")
    assert call("GET", f"segments/{10**30}/shoppers/anna").status_code == 404
