"""docs/operating.md names what there is: metrics, variables, commands, paths."""

import re

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import get_commands
from prometheus_client import REGISTRY

from almaFintech.middleware.probes import PROBES
from almaFintech.settings import ENVIRONMENT

GUIDE = (settings.BASE_DIR / "docs/operating.md").read_text()


def test_every_metric_is_explained_with_its_labels():
    rows = re.findall(r"^\| `(wallet_\w+)` \| (.+?) \|", GUIDE, re.MULTILINE)

    # A server that takes requests has defined them all.
    WSGIHandler()
    collectors = set(REGISTRY._names_to_collectors.values())
    expected = {
        f"{collector._name}{'_total' if collector._type == 'counter' else ''}": list(
            collector._labelnames
        )
        for collector in collectors
        if getattr(collector, "_name", "").startswith("wallet_")
    }
    assert len(rows) == len(expected) >= 7
    assert {name: re.findall(r"`(\w+)`", labels) for name, labels in rows} == expected


def test_every_variable_exists():
    names = set(re.findall(r"`([A-Z]+_[A-Z_]+)(?:=[^`]*)?`", GUIDE))

    assert len(names) > 8
    assert names <= set(ENVIRONMENT)


def test_every_command_exists():
    names = set(re.findall(r"manage\.py (\w+)", GUIDE))

    # The proof of the ledger comes from elsewhere in the project.
    assert names - {"verify_ledger"} <= set(get_commands())
    assert len(names) > 4


def test_every_probe_is_explained():
    assert set(re.findall(r"^\| `(/\w+)` \|", GUIDE, re.MULTILINE)) == set(PROBES)


def test_a_trusted_proxy_is_counted():
    # Otherwise all clients would share its address, and its failed logins.
    [deployment] = re.findall(r"^cat > \.env <<END\n(.+?)^END$", GUIDE, re.MULTILINE | re.DOTALL)
    variables = dict(line.split("=", 1) for line in deployment.splitlines())

    assert variables["TRUST_FORWARDED_PROTO"] == "true"
    assert variables["TRUSTED_PROXIES"] == "1"
