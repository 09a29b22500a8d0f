from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from recommender.management.arguments import parse_amount, parse_moment
from recommender.models import Shop

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-03-01", datetime(2024, 3, 1, 5, tzinfo=UTC)),  # winter: UTC-5
        ("2024-07-01", datetime(2024, 7, 1, 4, tzinfo=UTC)),
        ("2024-07-01T08:30", datetime(2024, 7, 1, 12, 30, tzinfo=UTC)),
        ("2024-07-01T08:30Z", datetime(2024, 7, 1, 8, 30, tzinfo=UTC)),
        ("2024-07-01 08:30:15.5+02:00", datetime(2024, 7, 1, 8, 30, 15, 500000, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_times_without_an_offset_are_the_shops(text: str, moment: datetime) -> None:
    Shop(time_zone="America/New_York").save()

    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2024-02-30", "01.03.2024", "2024-03"])
def test_what_is_not_a_date_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"is not a date\. Expected YYYY-MM-DD"):
        parse_moment(text)


@pytest.mark.parametrize(("text", "amount"), [("2500", Decimal(2500)), ("0.5", Decimal("0.5")), ("1e3", Decimal(1000))])
def test_an_amount_is_a_number_above_0(text: str, amount: Decimal) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1,5", "much"])
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"is not an amount\. Expected a number above 0"):
        parse_amount(text)
