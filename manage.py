#!/usr/bin/env python
"""Run Django's commands for almaFintech."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

# `verify_ledger` says by 1 that it has found something.
EXIT_STATUS = {"verify_ledger": 2, "restore": 2}

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_STATUS.get("".join(sys.argv[1:2]), 1))
