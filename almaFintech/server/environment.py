"""Parsers of the variables in settings.py, from the environment or a `.env` file."""

import importlib.util
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

WORDS = {
    **dict.fromkeys(("true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0"), False),
}


ENGINES = {f"django.db.backends.{name}" for name in ("postgresql", "mysql", "sqlite3")}


class Environment(environ.Env):
    """django-environ with literal values, and with errors that name the variable.

    django-environ reads a value that begins with "$" as the name of another variable. One in fifty
    of Django's random keys begins with it: such a SECRET_KEY would seem to be missing.
    """

    @classmethod
    def read_file(cls, path: str | os.PathLike[str]) -> None:
        """Add the variables of a `.env` file to the environment, which takes precedence.

        A missing file is fine. Raises ImproperlyConfigured for an unreadable file or a malformed
        line: django-environ skips those, and the server would run with the defaults.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ImproperlyConfigured(f"{path} cannot be read: {reason}.") from None
        lines = [line if line.strip() else "" for line in text.splitlines()]
        for number, line in enumerate(lines, start=1):
            # The message does not repeat the line, which may hold a password.
            if line and not re.fullmatch(r"\s*#.*|(export )?\w+=(\S(.*\S)?)?", line, re.ASCII):
                raise ImproperlyConfigured(
                    f"{path}, line {number}: write NAME=value, without spaces before the name, "
                    "around = or after the value."
                )
        cls.read_env(io.StringIO("\n".join(line for line in lines if line.lstrip()[:1] != "#")))

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        """Return the value of `var`, or its default; raises ImproperlyConfigured."""
        parse, default = self.scheme[var]
        if var not in self.ENVIRON:
            return default
        try:
            return self.parse_value(self.ENVIRON[var], parse)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} {error}.") from None

    def db(self, var: str) -> dict[str, Any]:
        """Return Django's settings of the database whose URL is the value of `var`."""
        # The message does not repeat the value, which may contain a password.
        refusal = ImproperlyConfigured(
            f"{var} must be a URL such as postgres://user:password@host:5432/name (or mysql://..., "
            "or sqlite:///file), with %2F for a / in the password, and so on."
        )
        if self.DB_SCHEMES.get(self(var).partition("://")[0]) not in ENGINES:
            raise refusal
        try:
            database: dict[str, Any] = super().db(var)
        except ValueError:
            raise refusal from None
        if not (database["NAME"] or "service" in database.get("OPTIONS", {})):
            raise refusal
        if database["ENGINE"].endswith("mysql") and importlib.util.find_spec("MySQLdb") is None:
            raise ImproperlyConfigured(
                f"{var} needs the driver for MariaDB: pip install -r requirements/mariadb.txt"
            )
        return database


def switch(text: str) -> bool:
    try:
        return WORDS[text.lower()]
    except KeyError:
        raise ValueError(f"must be true or false, and not {text!r}") from None


def number(text: str) -> int:
    """Parse an integer, 0 or more."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"must be 0 or more, and not {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Parse an integer, 1 or more."""
    if not (value := number(text)):
        raise ValueError(f"must be 1 or more, and not {text!r}")
    return value


def positive_or_unset(text: str) -> int | str:
    """Parse an integer, 1 or more; an empty text means that there is none."""
    return text and positive(text)


def workers_for_the_cores() -> int:
    """Return the default number of worker processes: one for each core, from 2 to 5.

    A second one serves while the first one restarts. Two servers of five processes with eight
    threads each fit into the 100 connections that PostgreSQL usually accepts.
    """
    return min(max(2, usable_cores()), 5)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    # Not all systems can limit a process to some of them.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def up_to(most: int) -> Callable[[str], int]:
    """Return a parser of integers from 1 to `most`."""

    def read(text: str) -> int:
        if (value := positive(text)) > most:
            raise ValueError(f"must be {most} or less, and not {text!r}")
        return value

    return read


def port(text: str) -> str:
    """Parse a TCP port; an empty text means no port."""
    return text and str(up_to(65_535)(text))


def address(text: str) -> str:
    """Parse an address to listen at: address:port or unix:/path."""
    match = re.fullmatch(r"unix:.+|(?:[^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", text)
    if match is None or int(match[1] or 0) > 65535:
        raise ValueError(f"must be address:port or unix:/path, and not {text!r}")
    return text
