"""docs/operating.md names existing metrics, variables, commands and probes."""

import re

from django.core.handlers.wsgi import WSGIHandler
from django.core.management import get_commands
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from almaFintech.middleware.probes import PROBES
from almaFintech.settings import BASE_DIR, ENVIRONMENT

GUIDE = (BASE_DIR / "docs/operating.md").read_text()


def test_every_metric_is_explained_with_its_labels():
    rows = re.findall(r"^\| `(wallet_\w+)` \| (.+?) \|", GUIDE, re.MULTILINE)

    # Loading the application defines all metrics.
    WSGIHandler()
    metrics = [
        metric
        for metric in set(REGISTRY._names_to_collectors.values())
        if isinstance(metric, MetricWrapperBase) and metric._name.startswith("wallet_")
    ]
    assert {name: re.findall(r"`(\w+)`", labels) for name, labels in rows} == {
        metric._name + ("_total" if metric._type == "counter" else ""): list(metric._labelnames)
        for metric in metrics
    }


def test_every_variable_exists():
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)(?:=[^`]*)?`", GUIDE))

    assert named <= set(ENVIRONMENT)


def test_every_command_exists():
    assert set(re.findall(r"manage\.py (\w+)", GUIDE)) <= set(get_commands())


def test_every_probe_is_explained():
    assert set(re.findall(r"^\| `(/\w+)` \|", GUIDE, re.MULTILINE)) == set(PROBES)


def test_the_first_deployment_sets_trusted_proxies():
    """Otherwise all clients share the proxy's address, and with it the limit on failed logins."""
    [deployment] = re.findall(r"^cat > \.env <<END\n(.+?)^END$", GUIDE, re.MULTILINE | re.DOTALL)
    variables = dict(line.split("=", 1) for line in deployment.splitlines())

    assert variables["TRUST_FORWARDED_PROTO"] == "true"
    assert variables["TRUSTED_PROXIES"] == "1"
