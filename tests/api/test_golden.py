"""Every answer of the API, word for word, is in a file that a test compares it with."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from recommender.api import refusals, urls
from recommender.api.limits import guesses_refused
from recommender.api.problems import problem_response
from recommender.services.guessing import TooManyGuesses
from tests.api.conftest import GOLDEN
from tests.api.test_callers import operations

Call = Callable[..., HttpResponse]
Golden = Callable[..., None]

#: The files of each address, by the status of the answers.
ANSWERS: dict[tuple[str, str], dict[int, set[str]]] = {
    ("shopper-coupons", "GET"): {
        200: {"shopper_coupons", "shopper_coupons_empty", "shopper_coupons_not_personal"},
    },
    ("own-coupons", "GET"): {200: {"shopper_coupons"}},
    ("recommendations", "POST"): {200: {"recommendations"}},
    ("own-coupon-why", "GET"): {200: {"own_coupon_why"}},
    ("own-coupon-claim", "POST"): {201: {"own_coupon_claimed"}, 200: {"own_coupon_claimed"}},
    ("own-coupon-dismiss", "POST"): {201: {"own_coupon_dismissed"}, 200: {"own_coupon_dismissed"}},
    ("own-history", "GET"): {200: {"own_history"}},
    ("events", "POST"): {200: {"event_accepted", "event_duplicate", "events_with_refused"}},
    ("orders", "POST"): {200: {"orders_with_refused"}},
    ("segments", "GET"): {200: {"segments"}},
    ("segment-membership", "GET"): {200: {"membership"}},
    ("redemptions", "POST"): {201: {"redemption", "redemption_least"}, 200: {"redemption"}},
    ("shopper-tokens", "POST"): {201: {"shopper_token"}},
    ("checkout-validate", "POST"): {200: {"checkout_quote"}},
    ("reservations", "POST"): {201: {"reservation_new"}},
    ("reservation", "GET"): {200: {"reservation"}},
    ("reservation-confirm", "POST"): {200: {"reservation_confirmed"}},
    ("reservation-release", "POST"): {200: {"reservation_released"}},
    ("reservation-reverse", "POST"): {200: {"reservation_reversed", "reservation_reversed_in_part"}},
    ("code-batches", "POST"): {202: {"code_batch_new"}},
    ("code-batch", "GET"): {200: {"code_batch_made"}},
    ("code-batch-codes", "GET"): {200: set()},  # a file, compared in test_codes.py
    ("groups", "POST"): {201: {"group_open"}},
    ("group", "GET"): {200: {"group_unlocked"}},
    ("group-members", "POST"): {200: {"group_unlocked"}},
    ("open-groups", "GET"): {200: {"open_groups", "open_groups_none"}},
    ("group-invitees", "GET"): {200: {"group_invitees"}},
    ("group-invitations", "POST"): {200: {"group_invitations"}},
}
#: Codes of problems that no line of ours names.
OF_REST_FRAMEWORK = {
    *("invalid", "parse_error", "not_authenticated", "authentication_failed", "permission_denied", "not_found"),
    *("method_not_allowed", "not_acceptable", "unsupported_media_type", "throttled"),
}
REFUSALS = "refusals"


def read(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def files() -> set[str]:
    return {path.stem for path in GOLDEN.iterdir()}


def problems() -> dict[str, dict[str, Any]]:
    return {name: answer for name in files() if "title" in (answer := read(name))}


def test_every_answer_that_is_described_has_its_file() -> None:
    assert set(ANSWERS) == {key for key in operations() if key[0] not in ("schema", "docs")}
    paths = SchemaGenerator().get_schema(public=True)["paths"]
    routes = {pattern.name: re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern)) for pattern in urls.urlpatterns}
    for (address, method), answers in ANSWERS.items():
        described = paths[f"/api/v1/{routes[address]}"][method.lower()]["responses"]
        assert set(answers) == {int(status) for status in described if status.startswith("2")}, address
    named = {name for answers in ANSWERS.values() for names in answers.values() for name in names}
    assert named | set(problems()) | {REFUSALS} == files()


def test_every_file_is_compared_with_an_answer() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__))
    here = Path(__file__).read_text().partition("def test_")[2]
    assert {name for name in files() if f'"{name}"' not in tests + here} == {REFUSALS}


def test_every_code_and_every_status_of_a_problem_has_its_file() -> None:
    sources = "".join(path.read_text() for path in Path(refusals.__file__).parent.glob("*.py"))
    codes = set(re.findall(r"""(?:\bcode|default_code) ?= ?"([a-z_]+)\"""", sources)) - {"required"}  # of a field
    assert codes | OF_REST_FRAMEWORK <= {problem["code"] for problem in problems().values()}
    statuses = {
        int(status)
        for methods in SchemaGenerator().get_schema(public=True)["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
        if status >= "400"
    }
    assert statuses | {405} == {problem["status"] for problem in problems().values()}


@pytest.mark.django_db
def test_what_is_said_of_each_refusal_at_the_checkout() -> None:
    facts = {"order": "o1", "id": "x", "line": "1", "left": "0.5", "made": 1, "count": 2}
    told = {code: refusals.in_words(code, facts) for code in refusals._WORDS}
    told |= {f"unknown_{what}": words(facts) for what, words in refusals._MISSING.items()} | {
        "unknown_coupon": told["unknown_coupon"]
    }
    assert told == read(REFUSALS)


# Those that no other test compares


def test_a_coupon_that_is_dismissed_first_and_again(call: Call, golden: Golden) -> None:
    for status in (201, 200):
        answer = call("POST", "me/coupons/tea-spring/dismiss", caller="own shopper")
        assert answer.status_code == status
        golden(answer, "own_coupon_dismissed", occurred_at="2026-03-10T12:00:00Z")


def test_ones_own_coupons_are_those_of_the_shopper(call: Call, golden: Golden) -> None:
    golden(call("GET", "me/coupons", caller="own shopper"), "shopper_coupons")


def test_an_unknown_segment(call: Call, golden: Golden) -> None:
    golden(call("GET", "segments/7/shoppers/anna"), "unknown_segment")


@pytest.mark.parametrize(
    ("method", "body", "headers", "name"),
    [
        ("PUT", b"[]", {}, "method_not_allowed"),
        ("POST", b"{", {}, "parse_error"),
        ("POST", b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, "unsupported_media_type"),
        ("POST", b" " * 2_621_441, {}, "too_large"),
        ("POST", b"[]", {"Transfer-Encoding": "chunked"}, "length_required"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_requests_that_are_not_read(
    method: str,
    body: bytes,
    headers: dict[str, str],
    name: str,
    client: Client,
    tokens: dict[str, str],
    golden: Golden,
) -> None:
    media_type = headers.pop("Content-Type", "application/json")
    headers = {"Authorization": f"Bearer {tokens['shop']}", **headers}
    answer = client.generic(method, "/api/v1/events", body, content_type=media_type, headers=headers)
    assert answer.headers["Content-Type"] == "application/problem+json"
    golden(answer, name)


def test_too_many_guesses() -> None:
    answer = problem_response(guesses_refused(TooManyGuesses(timedelta(seconds=7))), {})
    assert answer is not None
    assert json.loads(json.dumps(answer.data)) == read("too_many_guesses")
