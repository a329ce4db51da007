"""Check of a token against its user, password and session."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import BooleanField, Exists, Value
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.utils import get_md5_hash_password

from login.errors import PasswordChanged, SessionEnded, UserInactive, UserNotFound
from login.models import EndedSession
from login.tokens import SID


def user_of(token: Any) -> User:
    """Return the user of an access or refresh token. Raises AuthenticationFailed if it ended."""
    sid = token.get(SID)
    # Tokens from before sessions were introduced have none, and stay valid until they expire.
    ended: Any = (
        Exists(EndedSession.objects.filter(sid=sid))
        if sid
        else Value(False, output_field=BooleanField())
    )
    user = (
        User.objects.annotate(session_ended=ended)
        .filter(pk=token[api_settings.USER_ID_CLAIM])
        .first()
    )
    if user is None:
        raise UserNotFound
    if not user.is_active:
        raise UserInactive
    if token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise PasswordChanged
    if user.session_ended:
        raise SessionEnded
    return user
