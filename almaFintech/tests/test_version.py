"""The version is the same everywhere."""

import re

import yaml
from django.conf import settings

from almaFintech import __version__

CHANGELOG = (settings.BASE_DIR / "CHANGELOG.md").read_text()


def test_the_changelog_begins_with_this_version():
    assert re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)[0] == __version__


def test_the_openapi_document_has_this_version(client):
    assert settings.SPECTACULAR_SETTINGS["VERSION"] == __version__
    kept = yaml.safe_load((settings.BASE_DIR / "openapi.yaml").read_text())
    assert kept["info"]["version"] == __version__
