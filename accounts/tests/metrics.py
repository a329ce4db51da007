"""The numbers of the ledger's metrics."""

from prometheus_client import REGISTRY


def refusals(operation: str, code: str) -> float:
    labels = {"operation": operation, "code": code}
    return REGISTRY.get_sample_value("wallet_refusals_total", labels) or 0


def calls(operation: str) -> float:
    labels = {"operation": operation}
    return REGISTRY.get_sample_value("wallet_ledger_seconds_count", labels) or 0
