"""docs/walk-through.md is true: its commands are run as they stand there, and their answers compared."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from pytest_django.live_server_helper import LiveServer

from recommender.services.access import create_api_key
from recommender.services.webhooks import sign

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

DOCUMENT = (Path(settings.BASE_DIR) / "docs" / "walk-through.md").read_text()
BLOCKS = re.findall(r"^```(sh|json|python)\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
BETWEEN = "\x1e"


def steps() -> Iterator[tuple[str, Any]]:
    """Each block of commands, and the answer that is shown below it, if there is one."""
    for (kind, text), (next_kind, next_text) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if kind == "sh":
            yield text, json.loads(next_text) if next_kind == "json" else None


def agrees(told: Any, got: Any) -> bool:
    """Whether an answer is what is told of it; "…" stands for anything, at the end of a string for its rest."""
    if isinstance(told, dict):
        names = set(told) - {"…"}
        whole = names == set(got) if "…" not in told else names <= set(got)
        return whole and all(agrees(told[name], got[name]) for name in names)
    if isinstance(told, list):
        return len(told) == len(got) and all(map(agrees, told, got))
    if isinstance(told, str) and told.endswith("…"):
        return isinstance(got, str) and got.startswith(told[:-1])
    return bool(told == got)


def test_the_commands_answer_what_is_shown(shop: None, live_server: LiveServer) -> None:
    script = f"\nprintf '{BETWEEN}'\n".join(text for text, _told in steps())
    done = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input=script,
        env={**os.environ, "SITE": f"{live_server.url}/api/v1", "KEY": create_api_key(name="walk through")[1]},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split(BETWEEN)
    shown = 0
    for (text, told), answer in zip(steps(), answers, strict=True):
        if told is None:
            assert answer == "", text
            continue
        shown += 1
        assert agrees(told, json.loads(answer)), f"{text}\n{answer}"
    assert shown == DOCUMENT.count("```json") > 8


def test_what_checks_a_webhook_agrees_with_what_signs_it() -> None:
    [text] = [text for kind, text in BLOCKS if kind == "python"]
    names: dict[str, Any] = {}
    exec(text, names)
    is_genuine = names["is_genuine"]
    secret, body = "whsec_" + "c2VjcmV0" * 4, '{"type": "coupon.redeemed", "data": "券"}'.encode()
    headers = {
        "webhook-id": "0b1f",
        "webhook-timestamp": "1773144000",
        "webhook-signature": sign(secret=secret, message_id="0b1f", timestamp=1_773_144_000, body=body),
    }
    assert is_genuine(secret, headers, body, at=1_773_144_010)
    assert not is_genuine(secret, headers, body)  # long ago
    assert not is_genuine(secret, headers, body + b" ", at=1_773_144_010)
    assert not is_genuine(secret, {**headers, "webhook-id": "0b20"}, body, at=1_773_144_010)
    assert not is_genuine(secret, {**headers, "webhook-timestamp": "1773144001"}, body, at=1_773_144_010)
    assert not is_genuine("whsec_" + "b3RoZXIx" * 4, headers, body, at=1_773_144_010)
