"""Headers that restrict pages in a browser, with the policies of all paths."""

from collections.abc import Callable, Mapping

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Policy = Mapping[str, str]

# API responses are data: they run nothing and load nothing.
DATA: Policy = {"default-src": "'none'", "frame-ancestors": "'none'"}

# Scripts and styles are files of this server, so injected markup never runs:
# no 'unsafe-inline', no 'unsafe-eval'.
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

# ReDoc creates style elements and fills them by script. These are the SHA-256 digests of their
# initial contents: nothing, and one rule of its search box.
REDOC_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
)

# By the beginning of the path; the longest match wins.
POLICIES: Mapping[str, Policy] = {
    "/": PAGE,
    "/api/": DATA,
    # The style sheet of Swagger UI contains its icons.
    "/api/docs/": {**PAGE, "img-src": "'self' data:"},
    # ReDoc searches in a worker that it creates itself.
    "/api/redoc/": {
        **PAGE,
        "style-src": " ".join(("'self'", *REDOC_STYLES)),
        "img-src": "'self' data:",
        "worker-src": "blob:",
    },
}

# No page uses these features, so none is allowed to.
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
    """Add Content-Security-Policy and Permissions-Policy to every response.

    Django's SecurityMiddleware and XFrameOptionsMiddleware add the others.
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
    """Return whether this is an error page of DEBUG, which has inline scripts."""
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    return settings.DEBUG and is_page and response.status_code in (404, 500)


def policy_of(path: str) -> str:
    policy = POLICIES[max(filter(path.startswith, POLICIES), key=len)]
    return "; ".join(f"{directive} {sources}" for directive, sources in policy.items())
