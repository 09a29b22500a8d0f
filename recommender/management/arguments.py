"""Arguments that several commands share."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from recommender.models import Shop


def parse_moment(text: str) -> datetime:
    """An ISO 8601 date or date-time. A date is the start of that day, and a time without an offset is the shop's.

    Returns:
        The moment in UTC.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(
            f"{text!r} is not a date. Expected YYYY-MM-DD or YYYY-MM-DDTHH:MM, with an offset if not the shop's time."
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=Shop.current().zone)).astimezone(UTC)


def parse_amount(text: str) -> Decimal:
    """A number above 0, with a point before its decimals."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and amount > 0):
        raise ArgumentTypeError(f"{text!r} is not an amount. Expected a number above 0, such as 2500 or 0.5.")
    return amount


def add_algorithms_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--algorithms",
        type=parse_names,
        metavar="a,b",
        help="names separated by commas, or all (default: all but the neural one, which takes minutes)",
    )


def parse_names(text: str) -> list[str]:
    """Names separated by commas, at least one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ArgumentTypeError(f"{text!r} names nothing. Expected names separated by commas.")
    return names
