"""Cursors: where a long list goes on. What is in one is nobody's business but this site's."""

import base64
import binascii
import json
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers


def write_cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


class CursorField(serializers.CharField):
    """A cursor that an earlier answer gave; ``kinds`` are the types of its parts."""

    default_error_messages = {"unreadable": _("Expected the cursor of an earlier answer.")}

    def __init__(self, *kinds: type, **kwargs: Any) -> None:
        self.kinds = kinds
        super().__init__(max_length=500, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        try:
            parts = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (binascii.Error, ValueError, RecursionError):
            self.fail("unreadable")
        if not isinstance(parts, list) or [type(part) for part in parts] != list(self.kinds):
            self.fail("unreadable")
        return parts
