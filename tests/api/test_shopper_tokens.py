"""Tokens that the shop fetches for its shoppers' pages."""

from collections.abc import Callable
from datetime import datetime, timedelta

import jwt
import pytest
from django.http import HttpResponse
from django.utils import timezone

Call = Callable[..., HttpResponse]


def test_a_token_opens_what_is_the_shoppers_own(call: Call, golden: Callable[..., None]) -> None:
    response = call("POST", "shopper-tokens", {"shopper_id": "anna"})
    assert response.status_code == 201
    golden(response, "shopper_token", token="…", expires_at="2026-03-10T12:15:00Z")
    header = {"Authorization": f"Bearer {response.json()['token']}"}  # type: ignore[attr-defined]
    assert call("GET", "shoppers/anna/coupons", caller="nobody", headers=header).status_code == 200
    assert call("GET", "shoppers/ben/coupons", caller="nobody", headers=header).status_code == 403


@pytest.mark.parametrize(("asked", "seconds"), [({}, 900), ({"lifetime": 60}, 60), ({"lifetime": 3600}, 3600)])
def test_it_lives_as_long_as_asked_for(asked: dict[str, int], seconds: int, call: Call) -> None:
    before = timezone.now()
    answer = call("POST", "shopper-tokens", {"shopper_id": "anna", **asked}).json()  # type: ignore[attr-defined]
    expires_at = datetime.fromisoformat(answer["expires_at"])
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == seconds
    assert claims["exp"] == expires_at.timestamp()
    assert abs(expires_at - before - timedelta(seconds=seconds)) < timedelta(seconds=5)


@pytest.mark.parametrize("lifetime", [0, -1, 3601, "long", None])
def test_a_lifetime_beyond_an_hour_is_refused(lifetime: object, call: Call) -> None:
    response = call("POST", "shopper-tokens", {"shopper_id": "anna", "lifetime": lifetime})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["lifetime"]  # type: ignore[attr-defined]
