"""Responses to errors outside views; importable before Django's apps are loaded."""

from django.http import HttpResponse, JsonResponse

from almaFintech.refusals import WalletError


def respond(path: str, error: WalletError) -> HttpResponse:
    """Return the response to `error`: JSON below `/api/`, plain text elsewhere."""
    return in_json(path, error) or HttpResponse(
        error.detail, status=error.status_code, headers=error.headers()
    )


def in_json(path: str, error: WalletError) -> JsonResponse | None:
    """Return the JSON response to `error` below `/api/`, and None elsewhere."""
    if path.startswith("/api/"):
        return JsonResponse(error.body(), status=error.status_code, headers=error.headers())
    return None
