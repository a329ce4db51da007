"""The access token of a request.

DRF imports this module while it is itself being imported: what needs its views or our models is
imported when there is a request.
"""

from typing import Any

from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError

from login.errors import OF_ACCESS, TokenExpired


class Authentication(JWTAuthentication):
    """Bearer tokens; the scheme may be written in any case (RFC 9110, section 11.1)."""

    # What a request without a good token is refused with.
    errors = OF_ACCESS

    def get_raw_token(self, header: bytes) -> bytes | None:
        scheme, *rest = header.split() or [b""]
        return super().get_raw_token(b" ".join([scheme.title(), *rest]))

    def get_validated_token(self, raw_token: bytes) -> Any:
        from login.tokens import AccessToken

        try:
            return AccessToken(raw_token)  # type: ignore[arg-type]
        except ExpiredTokenError as error:
            raise TokenExpired() from error
        except TokenError:
            # Says which kind of token was expected.
            return super().get_validated_token(raw_token)

    def get_user(self, validated_token: Any) -> Any:
        from login.sessions import user_of

        return user_of(validated_token)
