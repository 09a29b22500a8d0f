#!/usr/bin/env python
"""Couponsite's command line."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError, ProgrammingError


def main(arguments: list[str]) -> None:
    """Run a command. What an operator can mend is told in a line; ``--traceback`` shows the rest."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "couponsite.settings")
    try:
        execute_from_command_line(arguments)
    except (ImproperlyConfigured, OperationalError, ProgrammingError) as error:
        if "--traceback" in arguments:
            raise
        told = str(error).strip()
        if not isinstance(error, ImproperlyConfigured):
            told = f"The database cannot be used: {told}. Does its server run, and has manage.py migrate been run?"
        sys.exit(told)


if __name__ == "__main__":
    main(sys.argv)
