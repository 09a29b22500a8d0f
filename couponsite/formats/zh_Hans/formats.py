"""Simplified Chinese: figures are grouped by thousands, as in its shops and books of account."""

THOUSAND_SEPARATOR = ","
NUMBER_GROUPING = 3
