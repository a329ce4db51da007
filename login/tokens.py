"""Tokens that outlive the key they were signed with, and refresh tokens that end once."""

from typing import Any

import jwt
from django.conf import settings
from django.db import transaction
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings


class KeyRing(TokenBackend):
    """Signs with SECRET_KEY, and reads what one of SECRET_KEY_FALLBACKS has signed, too."""

    def get_verifying_key(self, token: Any) -> Any:
        for key in (self.signing_key, *settings.SECRET_KEY_FALLBACKS):
            try:
                # The signature alone; whether the token is good is asked by decode().
                jwt.PyJWS().decode(token, key, algorithms=[self.algorithm])
            except jwt.InvalidTokenError:
                continue
            return key
        return super().get_verifying_key(token)


_key_ring = KeyRing(api_settings.ALGORITHM, api_settings.SIGNING_KEY)


class AccessToken(tokens.AccessToken):
    _token_backend = _key_ring


class RefreshToken(tokens.RefreshToken):
    _token_backend = _key_ring
    access_token_class = AccessToken

    def blacklist(self) -> Any:
        """End this token; of several requests at once, all but one get a TokenError.

        The unique row of the blacklist decides, not the look-up that came before it.
        """
        with transaction.atomic():
            result: Any = super().blacklist()
        _, created = result
        if not created:
            raise TokenError("Token is blacklisted")
        return result
