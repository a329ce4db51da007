"""The address of a client, which the client cannot choose."""

import pytest
import time_machine
from django.test import RequestFactory

from login.addresses import client_address

PROXY, CLIENT, FAKE = "10.0.0.1", "192.0.2.7", "203.0.113.9"


def address_of(settings, proxies, forwarded=None, remote=PROXY):
    settings.TRUSTED_PROXIES = proxies
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=remote))


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, PROXY),
        (0, FAKE, PROXY),
        (1, CLIENT, CLIENT),
        (1, f"{FAKE}, {CLIENT}", CLIENT),
        (1, f"{FAKE},{FAKE} , {CLIENT} ", CLIENT),
        (2, f"{FAKE}, {CLIENT}, 10.0.0.2", CLIENT),
        # Fewer addresses than proxies: the request bypassed some, so its header is not trusted.
        (1, None, PROXY),
        (2, CLIENT, PROXY),
        (1, "", PROXY),
        (1, "unknown", "unknown"),
        (1, f"{CLIENT}, {'9' * 5000}", "unknown"),
    ],
)
def test_only_the_part_that_the_proxies_added_is_trusted(settings, proxies, forwarded, address):
    assert address_of(settings, proxies, forwarded) == address


def test_an_ipv6_network_is_one_client(settings):
    first, second, other = (
        address_of(settings, 0, remote=address)
        for address in ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1")
    )
    assert first == second == "2001:db8:0:1::/64"
    assert other == "2001:db8:0:2::/64"


def test_the_networks_of_an_ipv6_site_share_a_limit(db, anyone, settings):
    settings.LOGIN_RATE_PER_ADDRESS, settings.LOGIN_RATE_PER_USERNAME = "2/d", ""

    def fails(networks, prefix="2001:db8:1"):
        login = {"username": "nobody", "password": "wrong"}
        return [
            anyone.post(
                "/api/login/", login, format="json", REMOTE_ADDR=f"{prefix}:{network:x}::1"
            ).status_code
            for network in networks
        ]

    assert fails(range(60)) == [401] * 8 + [429] * 52
    # Another site is not affected, nor are IPv4 addresses.
    assert fails([1], "2001:db8:2") == [401]
    assert fail(anyone) == 401


def test_ipv4_inside_ipv6_is_the_same_client(settings):
    assert address_of(settings, 0, remote=f"::ffff:{CLIENT}") == CLIENT


def test_a_unix_socket_has_no_address(settings):
    assert address_of(settings, 0, remote="") == "unknown"


def fail(client, **headers):
    login = {"username": "nobody", "password": "wrong"}
    return client.post("/api/login/", login, format="json", headers=headers).status_code


# No day ends during the test.
@time_machine.travel("2027-01-15 12:00 +0000")
def test_a_forged_header_does_not_evade_the_limits(db, anyone, settings):
    settings.LOGIN_RATE_PER_ADDRESS = "2/d"
    for proxies, forwarded in (0, "203.0.113.{}"), (1, "203.0.113.{}, 192.0.2.7"):
        settings.TRUSTED_PROXIES = proxies

        responses = [fail(anyone, **{"X-Forwarded-For": forwarded.format(n)}) for n in range(3)]

        assert responses == [401, 401, 429]


@pytest.mark.parametrize(("trusted", "status"), [(False, 301), (True, 200)])
def test_a_forwarded_scheme_is_trusted_if_configured(client, settings, trusted, status):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if trusted else None

    response = client.get("/api/", headers={"X-Forwarded-Proto": "https"})

    assert response.status_code == status
