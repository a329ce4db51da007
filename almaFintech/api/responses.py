"""Answers to what no view answers, for code that runs before Django's apps are there."""

from django.http import HttpResponse, JsonResponse


def refusal(path: str, detail: str, code: str, status: int) -> HttpResponse:
    """Answer what no view has answered: as JSON below `/api/`, as plain words elsewhere."""
    return in_json(path, detail, code, status) or HttpResponse(detail, status=status)


def in_json(path: str, detail: str, code: str, status: int) -> JsonResponse | None:
    """The form of an error below `/api/`; elsewhere there is none, and it is for people."""
    if path.startswith("/api/"):
        return JsonResponse({"detail": detail, "code": code}, status=status)
    return None
