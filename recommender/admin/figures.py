"""Numbers and money as the pages show them, by the reader's locale."""

from django.utils.formats import number_format


def count_of(number: int) -> str:
    return number_format(number, 0, force_grouping=True)


def uses_of(uses: float) -> str:
    """Expected uses: to one decimal where there are few."""
    decimals = 0 if uses >= 10 else 1
    return number_format(round(uses, decimals), decimals, force_grouping=True)


def money_of(amount: float, currency: str) -> str:
    """An amount: whole where the cents say nothing any more."""
    decimals = 0 if abs(amount) >= 1000 else 2
    return f"{number_format(round(amount, decimals), decimals, force_grouping=True)} {currency}"


def percent_of(share: float, decimals: int = 2) -> str:
    return f"{number_format(round(100 * share, decimals), decimals)} %"
