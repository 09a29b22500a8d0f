"""``manage.py create_api_key``."""

import pytest
from django.core.management import CommandError, call_command

from recommender.models import ApiKey
from recommender.services.access import find_api_key

pytestmark = pytest.mark.django_db


def test_the_key_is_alone_on_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_key", " till ")
    out, err = capsys.readouterr()
    row = find_api_key(key=out.splitlines()[-1])
    assert row is not None
    assert row.name == "till"
    assert row.created_by is None
    assert out.strip() not in err


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match=r"NAME: expected 1 to 100 characters, got \d+\."):
        call_command("create_api_key", name)
    assert not ApiKey.objects.exists()


def test_it_opens_what_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_key", "tracker", "--scopes", "checkout", "events:write", "checkout")
    assert ApiKey.objects.get().scopes == ["events:write", "checkout"]
    assert "events:write, checkout" in capsys.readouterr().err
    with pytest.raises(CommandError, match="everything"):
        call_command("create_api_key", "tracker", "--scopes", "everything")
    assert ApiKey.objects.count() == 1
