"""The key of a development server."""

import stat

import pytest
from django.core.exceptions import ImproperlyConfigured

from almaFintech.server import secret_key
from almaFintech.server.secret_key import development_key
from almaFintech.tests.servers import python


def test_the_key_is_random_and_stable(tmp_path):
    key = development_key(tmp_path / "key")

    assert len(key) >= 50
    assert development_key(tmp_path / "key") == key
    assert development_key(tmp_path / "other") != key


def test_only_its_owner_can_read_it(tmp_path):
    development_key(tmp_path / "key")

    assert [file.name for file in tmp_path.iterdir()] == ["key"]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.server
def test_two_processes_that_start_at_once_share_a_key(tmp_path, monkeypatch):
    path = tmp_path / "key"
    code = (
        "from almaFintech.server.secret_key import *; "
        f"print(development_key(Path({str(path)!r})), end='')"
    )
    others = []

    def while_another_starts():
        others.append(python("-c", code).stdout)
        return "the key of the slower process"

    # The other process runs after this one has found no file, and before it writes one.
    monkeypatch.setattr(secret_key, "get_random_secret_key", while_another_starts)

    assert [development_key(path)] == others
    assert len(others[0]) >= 50
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_folder_that_cannot_hold_it_is_named(tmp_path):
    with pytest.raises(ImproperlyConfigured, match=r"No such file or directory\. Set SECRET_KEY"):
        development_key(tmp_path / "missing" / "key")
