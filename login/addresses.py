"""The address that a request comes from."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

UNKNOWN = "unknown"
# A provider gives each customer at least such a network, so one client can use all of it.
IPV6_PREFIX = 64
# A site may have such a network, so one client can use 65536 of the former.
IPV6_SITE_PREFIX = 48


def client_address(request: HttpRequest | Request) -> str:
    """Return the address of the client, or its /64 network if it is an IPv6 address.

    Each of the `TRUSTED_PROXIES` in front has appended the address that it saw to
    `X-Forwarded-For`. The client may have forged everything before those.
    """
    proxies = settings.TRUSTED_PROXIES
    header = request.headers.get("X-Forwarded-For")
    seen = header.split(",") if header else []
    if proxies and len(seen) >= proxies:
        return _group(seen[-proxies])
    # No proxy, or fewer addresses than proxies: the request bypassed some of them.
    return _group(request.META.get("REMOTE_ADDR", ""))


def site_of(address: str) -> str | None:
    """Return the IPv6 site of a result of `client_address`, or None for any other address."""
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
