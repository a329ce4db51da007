"""Where a request comes from."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

UNKNOWN = "unknown"
# What one customer of a provider is given of IPv6, and so what one client can choose from.
IPV6_PREFIX = 64
# What a site may be given, and so what one client with 65536 of the former can choose from.
IPV6_SITE_PREFIX = 48


def client_address(request: HttpRequest | Request) -> str:
    """Return the address of the client, of IPv6 the network of its site.

    Each of the `TRUSTED_PROXIES` in front has added the address that it saw to the end of
    `X-Forwarded-For`. What stands before those, the client may have written itself.
    """
    proxies = settings.TRUSTED_PROXIES
    header = request.headers.get("X-Forwarded-For")
    seen = header.split(",") if header else []
    if proxies and len(seen) >= proxies:
        return _group(seen[-proxies])
    # No proxy, or fewer addresses than proxies, and then the request came past some of them.
    return _group(request.META.get("REMOTE_ADDR", ""))


def site_of(address: str) -> str | None:
    """Return the wider network of what `client_address` returned; None unless it is of IPv6."""
    if ":" not in address:
        return None
    return str(IPv6Network(address).supernet(new_prefix=IPV6_SITE_PREFIX))


def _group(text: str) -> str:
    try:
        address = ip_address(text.strip())
    except ValueError:
        # A Unix socket has no address, and some proxies write "unknown".
        return UNKNOWN
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(IPv6Network((int(address), IPV6_PREFIX), strict=False))
    return str(address)
