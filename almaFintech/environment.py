"""Reading the variables of the environment, or of a `.env` file, that settings.py lists."""

import re
from collections.abc import Callable
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

WORDS = {
    **dict.fromkeys(("true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0"), False),
}


class Environment(environ.Env):
    """django-environ with values taken as they stand, and refusals that name the variable.

    There a value that begins with "$" is the name of another variable. One in fifty random keys
    of Django begins so, and such a SECRET_KEY would seem absent, or such a password be another.
    """

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        """Return what `var` says, or its default; raises ImproperlyConfigured."""
        parse, default = self.scheme[var]
        if var not in self.ENVIRON:
            return default
        try:
            return self.parse_value(self.ENVIRON[var], parse)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} {error}.") from None

    def db(self, var: str) -> dict[str, Any]:
        """Return Django's settings for the database whose URL `var` holds."""
        # It does not repeat the value, since a part of a password may be taken for a port.
        refusal = ImproperlyConfigured(
            f"{var} must be a URL such as postgres://user:password@host:5432/name, with %2F for a "
            "/ in the password, and so on."
        )
        if self(var).partition("://")[0] not in self.DB_SCHEMES:
            raise refusal
        try:
            database: dict[str, Any] = super().db(var)
        except ValueError:
            raise refusal from None
        if not (database["NAME"] or "service" in database.get("OPTIONS", {})):
            raise refusal
        return database


def switch(text: str) -> bool:
    try:
        return WORDS[text.lower()]
    except KeyError:
        raise ValueError(f"must be true or false, and not {text!r}") from None


def number(text: str) -> int:
    """Read a whole number, 0 or more."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"must be 0 or more, and not {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Read a whole number, 1 or more."""
    if not (value := number(text)):
        raise ValueError(f"must be 1 or more, and not {text!r}")
    return value


def up_to(most: int) -> Callable[[str], int]:
    """Read a whole number from 1 to `most`."""

    def read(text: str) -> int:
        if (value := positive(text)) > most:
            raise ValueError(f"must be {most} or less, and not {text!r}")
        return value

    return read


def port(text: str) -> str:
    """Read a TCP port, or an empty text for none."""
    return text and str(up_to(65_535)(text))


def address(text: str) -> str:
    """Read where to listen: address:port or unix:/path."""
    match = re.fullmatch(r"unix:.+|(?:[^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", text)
    if match is None or int(match[1] or 0) > 65535:
        raise ValueError(f"must be address:port or unix:/path, and not {text!r}")
    return text
