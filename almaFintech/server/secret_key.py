"""Random keys for development servers, which need no configuration."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key


def development_key(path: Path) -> str:
    """Return the key stored in `path`, after creating a random one on the first call.

    Only the owner can read the file. Two concurrent first calls agree on one key: each writes its
    own file, and only one of them can get the name. Raises ImproperlyConfigured if the file cannot
    be read or written.
    """
    try:
        return _read_or_create(path)
    except OSError as error:
        raise ImproperlyConfigured(
            f"SECRET_KEY cannot be kept in {path}: {error.strerror}. Set SECRET_KEY yourself."
        ) from error


def _read_or_create(path: Path) -> str:
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(get_random_secret_key())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()
