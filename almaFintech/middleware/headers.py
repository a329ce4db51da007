"""The headers that tell browsers what a page may do; the policies of all paths are here."""

from collections.abc import Callable, Mapping

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Policy = Mapping[str, str]

# Nothing runs and nothing is loaded: the answers of the API are data.
DATA: Policy = {"default-src": "'none'", "frame-ancestors": "'none'"}

# Scripts and styles are files of this server, so that what somebody smuggles into a page stays
# text: never 'unsafe-inline', never 'unsafe-eval'.
PAGE: Policy = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}

# ReDoc makes style elements and then writes their rules by script. These are the SHA-256 of what
# it makes them with: of nothing, and of one rule of its search box.
REDOC_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
)

# By the start of the path; the longest one that fits counts.
POLICIES: Mapping[str, Policy] = {
    "/": PAGE,
    "/api/": DATA,
    # Swagger UI has its icons in its style sheet.
    "/api/docs/": {**PAGE, "img-src": "'self' data:"},
    # ReDoc searches in a worker that it makes itself.
    "/api/redoc/": {
        **PAGE,
        "style-src": " ".join(("'self'", *REDOC_STYLES)),
        "img-src": "'self' data:",
        "worker-src": "blob:",
    },
}

# What no page here asks for, nobody gets to ask for.
PERMISSIONS = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "usb",
    )
)


class HeadersMiddleware:
    """Add Content-Security-Policy and Permissions-Policy to every answer.

    SecurityMiddleware and XFrameOptionsMiddleware of Django add the others.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not has_scripts_inside(response):
            response.headers.setdefault("Content-Security-Policy", policy_of(request.path))
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        return response


def has_scripts_inside(response: HttpResponseBase) -> bool:
    """Tell the pages on which DEBUG shows an error to developers."""
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    return settings.DEBUG and is_page and response.status_code in (404, 500)


def policy_of(path: str) -> str:
    policy = POLICIES[max(filter(path.startswith, POLICIES), key=len)]
    return "; ".join(f"{directive} {sources}" for directive, sources in policy.items())
