"""docs/errors.md describes every code that a response may have, and no others."""

import re
from collections.abc import Iterator

from django.conf import settings
from rest_framework.exceptions import APIException, AuthenticationFailed, ValidationError
from rest_framework_simplejwt.exceptions import InvalidToken

from almaFintech.api.pages import document
from almaFintech.refusals import WalletError

PAGE = (settings.BASE_DIR / "docs" / "errors.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (\d{3}) \| [A-Z].+\. \|$", PAGE, re.MULTILINE)
# These are only raised with a more specific code than that of the class.
ABSTRACT = {APIException, AuthenticationFailed}


def subclasses(kind: type[APIException]) -> Iterator[type[APIException]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def statuses_of_codes() -> dict[str, int]:
    """Return the status of each code that the server, DRF or simplejwt may return."""
    # Building the document imports all views, and with them all subclasses.
    document()
    found = {kind.default_code: kind.status_code for kind in WalletError.kinds()}
    for kind in {*subclasses(APIException)} - ABSTRACT:
        is_ours = kind.__module__.split(".")[0] in ("almaFintech", "login", "accounts")
        if is_ours or kind.__module__ == APIException.__module__ or kind is InvalidToken:
            found[str(kind.default_code)] = kind.status_code
    return found


def test_every_code_is_described_with_its_status() -> None:
    described = {code: int(status) for code, status in ROWS}

    assert described == statuses_of_codes()
    assert len(described) > 30
    assert [code for code, _ in ROWS] == sorted(described)
    assert described["invalid"] == ValidationError.status_code


def test_the_openapi_document_knows_the_same_codes() -> None:
    codes = document()["components"]["schemas"]["Error"]["properties"]["code"]["enum"]

    assert codes == [code for code, _ in ROWS]
