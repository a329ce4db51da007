"""The key that signs tokens and sessions on a development server."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key


def development_key(path: Path) -> str:
    """Return the key kept in `path`, making a random one on the first call.

    The file is readable by its owner alone. Two first calls at once agree on one key: each
    writes its own file, and only one of them can be given the name. Raises ImproperlyConfigured
    where the file cannot be read or written.
    """
    try:
        return _kept(path)
    except OSError as error:
        raise ImproperlyConfigured(
            f"SECRET_KEY cannot be kept in {path}: {error.strerror}. Set SECRET_KEY yourself."
        ) from error


def _kept(path: Path) -> str:
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
