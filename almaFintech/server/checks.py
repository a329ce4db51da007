"""System checks for a server that handles money."""

import hashlib
import re
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from redis.connection import parse_url

from almaFintech.api.rates import Rate

# SHA-256 of the keys that were once published in this repository.
PUBLISHED_KEYS = {
    "983136ed019491e2fb2ab9d063bb99a71b063074157671637811aab95103a3c0",
    "8a8bf9a3425e5e258d5c200d6af1791580e1706ed8f9889d029fbb6c3e16b913",
    "9d0ccbbea250638e1fb0c3edde6a0dc64e2011bea36a3d2548093f4fc8b2d0da",
}

SHORTEST_LEDGER_KEY = 50


@register(Tags.database)
def database_returns_inserted_rows(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Require a database that returns inserted rows: the ledger reads ids from its INSERTs."""
    return [
        Error(
            f"The database {alias!r} ({connections[alias].display_name}) cannot return the rows "
            "of a bulk insert, which the ledger needs.",
            hint="Use PostgreSQL, MariaDB 10.5 or later, or SQLite 3.35 or later.",
            id="almaFintech.E001",
        )
        for alias in databases or []
        if not connections[alias].features.can_return_rows_from_bulk_insert
    ]


@register(Tags.database)
def database_keeps_every_character(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Require utf8mb4 on MariaDB: other character sets cannot store every character.

    New tables inherit the character set of the database, so `migrate` checks it first.
    """
    errors: list[CheckMessage] = []
    for alias in databases or []:
        if connections[alias].vendor == "mysql":
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT @@character_set_database")
                [charset] = cursor.fetchone()
            if charset != "utf8mb4":
                hint = "Before the first migration: ALTER DATABASE name CHARACTER SET utf8mb4"
                text = f"The database {alias!r} has the character set {charset} and not utf8mb4."
                errors.append(Error(text, hint=hint, id="almaFintech.E006"))
    return errors


@register(Tags.security)
def trusted_origins_are_origins(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Require whole origins: Django checks only the scheme, and not at the start of a server."""
    return [
        Error(
            f"Origin {origin!r} in CSRF_TRUSTED_ORIGINS is not like https://wallet.example.",
            id="almaFintech.E008",
        )
        for origin in settings.CSRF_TRUSTED_ORIGINS
        if not re.fullmatch(r"https?://[^/?#\s]+", origin)
    ]


# Django compares the Host header, without its port, with these.
HOST = re.compile(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")


@register(Tags.security)
def hosts_are_hosts(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Require host names: Django accepts anything, and then returns 400 for every request."""
    return [
        Error(
            "ALLOWED_HOSTS must list host names such as wallet.example, without scheme, port, path "
            f"or spaces, and not {host!r}.",
            id="almaFintech.E009",
        )
        for host in settings.ALLOWED_HOSTS
        if not HOST.fullmatch(host)
    ]


@register(Tags.security)
def redis_has_an_address(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Refuse a malformed REDIS_URL; a missing Redis is tolerated."""
    try:
        if settings.REDIS_URL:
            parse_url(settings.REDIS_URL)
    except ValueError as error:
        return [Error(f"REDIS_URL: {error}.", id="almaFintech.E004")]
    return []


@register(Tags.security)
def metrics_are_allowed_to_networks(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    try:
        for network in settings.METRICS_ALLOWED:
            ip_network(network)
    except ValueError as error:
        return [Error(f"METRICS_ALLOWED: {error}.", id="almaFintech.E005")]
    return []


@register(Tags.security)
def keys_are_secret(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse published keys: anybody who has read one can sign tokens with it."""
    keys = {"SECRET_KEY": settings.SECRET_KEY} | {
        f"SECRET_KEY_FALLBACKS[{index}]": key
        for index, key in enumerate(settings.SECRET_KEY_FALLBACKS)
    }
    return [
        Error(f"{name} was published with the source of this server.", id="almaFintech.E002")
        for name, key in keys.items()
        if hashlib.sha256(key.encode()).hexdigest() in PUBLISHED_KEYS
    ]


@register(Tags.security)
def the_ledger_has_a_key_of_its_own(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Refuse short keys, which can be guessed from one digest, and keys shared with SECRET_KEY."""
    hint = "Make one with: openssl rand -hex 48"
    keys = {"LEDGER_KEY": settings.LEDGER_KEY} | {
        f"LEDGER_KEY_FALLBACKS[{index}]": key
        for index, key in enumerate(settings.LEDGER_KEY_FALLBACKS)
    }
    errors: list[CheckMessage] = []
    for name, key in keys.items():
        if len(key) < SHORTEST_LEDGER_KEY:
            text = f"{name} has less than {SHORTEST_LEDGER_KEY} characters. {hint}"
            errors.append(Error(text, id="almaFintech.E011"))
        if key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
            text = f"{name} is also a SECRET_KEY: the ledger needs a key of its own. {hint}"
            errors.append(Error(text, id="almaFintech.E012"))
    return errors


@register(Tags.security)
def rates_can_be_read(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for name in (
        *("LOGIN_RATE_PER_ADDRESS", "LOGIN_RATE_PER_USERNAME", "LOGIN_RATE_PER_USER"),
        *("USER_RATE", "REFUSED_TRANSFERS_RATE"),
    ):
        try:
            Rate.parse(getattr(settings, name))
        except ValueError as error:
            errors.append(Error(f"{name}: {error}.", id="almaFintech.E003"))
    return errors


@register(Tags.security, deploy=True)
def clients_have_addresses(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn about an uncounted proxy: all clients would share its address and its failed logins."""
    if settings.SECURE_PROXY_SSL_HEADER and not settings.TRUSTED_PROXIES:
        return [
            Warning(
                "TRUST_FORWARDED_PROTO means that there is a proxy, but TRUSTED_PROXIES is 0: all "
                "clients have the proxy's address, and a few failed logins lock everybody out.",
                hint="Set TRUSTED_PROXIES to the number of proxies that append to X-Forwarded-For.",
                id="almaFintech.W007",
            )
        ]
    return []
