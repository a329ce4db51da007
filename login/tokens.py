"""Access and refresh tokens: their keys, their claims, and their sessions."""

import re
import time
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any
from uuid import uuid4

import jwt
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken

from login.models import EndedSession

# The claim for the session of a token: one login, and all tokens that were made from it.
SID = "sid"
# Clients that send the same refresh twice within this time are careless, not thieves.
GRACE = timedelta(seconds=10)

# The end of the year 9999, after which Python has no dates.
LAST_SECOND = 253_402_300_799
HEX_ID = re.compile(r"[0-9a-f]{32}")
TEXTS = {
    api_settings.USER_ID_CLAIM: re.compile(r"[0-9]{1,19}"),
    api_settings.JTI_CLAIM: HEX_ID,
    SID: HEX_ID,
}
TIMES = ("exp", "iat", "nbf")
OPTIONAL = {SID, "iat", "nbf"}

# The number of tokens whose claims a process remembers, each about a kilobyte.
REMEMBERED_TOKENS = 4096


def is_well_formed(claims: dict[str, Any]) -> bool:
    """Return whether each claim that the server reads has the type that it writes."""
    for name, pattern in TEXTS.items():
        value = claims.get(name)
        if value is None and name in OPTIONAL and name not in claims:
            continue
        if not isinstance(value, str) or not pattern.fullmatch(value):
            return False
    for name in TIMES:
        if name in OPTIONAL and name not in claims:
            continue
        value = claims.get(name)
        if type(value) is not int or not 0 <= value <= LAST_SECOND:
            return False
    return True


def is_current(claims: dict[str, Any]) -> bool:
    """Return whether well-formed claims are valid now."""
    now = time.time()
    return claims["exp"] > now >= max(claims.get("iat", 0), claims.get("nbf", 0))


class KeyRing(TokenBackend):
    """Signs with SECRET_KEY, and also accepts signatures of SECRET_KEY_FALLBACKS.

    The claims of a verified token are remembered, because a client sends it with each request. No
    failure is remembered.
    """

    def get_verifying_key(self, token: Any) -> Any:
        if not settings.SECRET_KEY_FALLBACKS:
            # decode() verifies the signature, too.
            return super().get_verifying_key(token)
        for key in (self.signing_key, *settings.SECRET_KEY_FALLBACKS):
            try:
                # The signature alone; decode() checks the rest of the token.
                jwt.PyJWS().decode(token, key, algorithms=[self.algorithm])
            except jwt.InvalidTokenError:
                continue
            return key
        return super().get_verifying_key(token)

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        claims = self.remembered(token, verify, tuple(settings.SECRET_KEY_FALLBACKS))
        if not is_current(claims):
            # Raises the error that names the reason.
            claims = self.verified(token, verify)
        return claims.copy()

    @lru_cache(REMEMBERED_TOKENS)  # noqa: B019 - one instance for each SECRET_KEY
    def remembered(self, token: Any, verify: bool, fallbacks: tuple[str, ...]) -> dict[str, Any]:
        """Verify a token, or remember that it was verified with the same keys."""
        return self.verified(token, verify)

    def verified(self, token: Any, verify: bool) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = super().decode(token, verify)
        except (OverflowError, RecursionError, TypeError) as error:
            # PyJWT accepts JSON of any depth, numbers of any size and headers of any type.
            raise TokenBackendError("Token is invalid") from error
        if not is_well_formed(claims):
            raise TokenBackendError("Token is invalid")
        return claims


@cache
def key_ring(signing_key: str) -> KeyRing:
    return KeyRing(api_settings.ALGORITHM, signing_key)


class AccessToken(tokens.AccessToken):
    def get_token_backend(self) -> KeyRing:
        return key_ring(settings.SECRET_KEY)


class RefreshToken(tokens.RefreshToken):
    """A refresh token. Its access tokens take over the id of its session."""

    access_token_class = AccessToken

    def get_token_backend(self) -> KeyRing:
        return key_ring(settings.SECRET_KEY)

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        super().__init__(token, verify)
        if token is None:
            self.payload[SID] = uuid4().hex

    def check_blacklist(self) -> None:
        """Refuse a used token; if it was used more than GRACE ago, end its whole session.

        Either the owner or a thief sends a token that the other one has used. The server cannot
        know which of them it is, so both have to log in again (RFC 9700, section 4.14.2).
        """
        jti = self.payload[api_settings.JTI_CLAIM]
        used = BlacklistedToken.objects.filter(token__jti=jti).first()
        if used is None:
            return
        if timezone.now() - used.blacklisted_at > GRACE:
            self.end_session()
        raise TokenError("Token is blacklisted")

    def blacklist(self) -> Any:
        """End this token. All but one of several concurrent requests get a TokenError.

        The unique row of the blacklist decides, not the look-up before it.
        """
        with transaction.atomic():
            result: Any = super().blacklist()
        _, created = result
        if not created:
            raise TokenError("Token is blacklisted")
        return result

    def rotate(self) -> None:
        """End this token, and become the next one of its session."""
        self.blacklist()
        self.set_jti()
        self.set_exp()
        self.set_iat()
        self.outstand()

    def end_session(self) -> None:
        """End all tokens of this session, including those of later refreshes."""
        if SID in self.payload:
            EndedSession.objects.end(self.payload[SID], self.payload["exp"])


def tokens_for(user: User) -> dict[str, Any]:
    """Begin a session of `user`, and return its first tokens."""
    refresh = RefreshToken.for_user(user)
    return {"refresh": str(refresh), **access_from(refresh)}


def access_from(refresh: tokens.RefreshToken) -> dict[str, Any]:
    """Return a new access token, and the seconds until it expires."""
    seconds = int(AccessToken.lifetime.total_seconds())
    return {"access": str(refresh.access_token), "expires_in": seconds}
