"""Errors that no view answers, for code that runs before Django's apps are loaded."""

from django.http import HttpResponse, JsonResponse

from almaFintech.refusals import WalletError


def respond(path: str, error: WalletError) -> HttpResponse:
    """Answer `error` as JSON below `/api/`, and as plain text elsewhere."""
    return in_json(path, error) or HttpResponse(
        error.detail, status=error.status_code, headers=error.headers()
    )


def in_json(path: str, error: WalletError) -> JsonResponse | None:
    """Answer `error` as JSON below `/api/`; return None elsewhere, where a page answers it."""
    if path.startswith("/api/"):
        return JsonResponse(error.body(), status=error.status_code, headers=error.headers())
    return None
