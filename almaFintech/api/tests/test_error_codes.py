"""docs/errors.md names every code that an answer may carry, and no other."""

import inspect
import re
from importlib import import_module

from django.conf import settings
from rest_framework.exceptions import APIException, AuthenticationFailed, ValidationError
from rest_framework_simplejwt import authentication, serializers
from rest_framework_simplejwt.exceptions import InvalidToken

from almaFintech.api.openapi import ANSWERS
from almaFintech.api.pages import document
from almaFintech.refusals import WalletError

DOCUMENT = (settings.BASE_DIR / "docs" / "errors.md").read_text()
OURS = sorted(
    path
    for app in ("almaFintech", "login", "accounts")
    for path in (settings.BASE_DIR / app).glob("*.py")
    if path.name not in ("asgi.py", "wsgi.py")
)
# What reaches no client with the code of the class: whoever raises it has a better one.
ABSTRACT = {APIException, AuthenticationFailed}


def subclasses(kind):
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def codes_of_the_code():
    """The codes of all errors that the server knows, with the status where the code tells it."""
    for path in OURS:
        # Only what is imported has subclasses to be found.
        import_module(f"{path.parent.name}.{path.stem}")
    found = {}
    for kind in subclasses(WalletError):
        if "default_code" in vars(kind):
            found[kind.default_code] = kind.status_code
    for kind in {*subclasses(APIException)} - ABSTRACT:
        ours = kind.__module__.split(".")[0] in ("almaFintech", "login", "accounts")
        if ours or kind.__module__ == APIException.__module__ or kind is InvalidToken:
            found[kind.default_code] = kind.status_code
    source = "".join(map(inspect.getsource, (authentication, serializers)))
    for code in re.findall(r'code="(\w+)"|default_error_messages = {\s*"(\w+)"', source):
        found["".join(code)] = 401
    for status, (_, _, codes) in ANSWERS.items():
        found |= dict.fromkeys(codes, status)
    for path in OURS:
        for code in re.findall(r'"code": "(\w+)"', path.read_text()):
            found.setdefault(code, None)
    return found


ROWS = re.findall(r"^\| `(\w+)` \| (\d{3}) \| [A-Z].+\. \|$", DOCUMENT, re.MULTILINE)


def test_every_code_is_described_with_its_status():
    described = {code: int(status) for code, status in ROWS}
    known = codes_of_the_code()

    assert described.keys() == known.keys()
    assert len(described) > 30
    for code, status in known.items():
        assert described[code] == status or status is None, code
    assert [code for code, _ in ROWS] == sorted(described)
    assert described["invalid"] == ValidationError.status_code


def test_the_openapi_document_knows_the_same_codes():
    codes = document()["components"]["schemas"]["Error"]["properties"]["code"]["enum"]

    assert codes == [code for code, _ in ROWS]
