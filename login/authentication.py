"""The access token of a request.

DRF imports this module while it is itself being imported: modules that need its views or our
models are imported by the first request.
"""

from typing import Any

from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError

from login.errors import OF_ACCESS, MalformedHeader, NoAccessToken, TokenExpired


class Authentication(JWTAuthentication):
    """Bearer tokens; the scheme may be written in any case (RFC 9110, section 11.1)."""

    # For the OpenAPI document.
    errors = OF_ACCESS

    def get_raw_token(self, header: bytes) -> bytes | None:
        scheme, *rest = header.split() or [b""]
        if scheme.lower() != b"bearer":
            return None
        if len(rest) != 1:
            raise MalformedHeader
        return rest[0]

    def get_validated_token(self, raw_token: bytes) -> Any:
        from login.tokens import AccessToken

        try:
            return AccessToken(raw_token)  # type: ignore[arg-type]
        except ExpiredTokenError as error:
            raise TokenExpired from error
        except TokenError as error:
            why = {
                "token_class": AccessToken.__name__,
                "token_type": AccessToken.token_type,
                "message": error.args[0],
            }
            raise NoAccessToken({"messages": [why]}) from error

    def get_user(self, validated_token: Any) -> Any:
        from login.sessions import user_of

        return user_of(validated_token)
