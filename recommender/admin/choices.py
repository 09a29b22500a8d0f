"""Several of some choices, kept as a list."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget


class ChoicesField(forms.MultipleChoiceField):
    """Boxes to tick; at least one."""

    widget = UnfoldAdminCheckboxSelectMultipleWidget

    def has_changed(self, initial: Any, data: Any) -> bool:
        return sorted(initial or []) != sorted(data or [])
