"""Initial signature of the register: "no accounts opened yet"."""

from typing import Any

from django.apps import apps as installed

from accounts.models import Register
from audit.beginnings import sign_none_yet


def sign_register(apps: Any = installed, **kwargs: Any) -> None:
    """Sign that no accounts were opened yet. Called only after migrations."""
    sign_none_yet(Register, apps)
