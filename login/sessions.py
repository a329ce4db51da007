"""Check of a token against its user, password and session."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import Exists, QuerySet
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.utils import get_md5_hash_password

from almaFintech.db.compiled import compiled
from login.errors import PasswordChanged, SessionEnded, UserInactive, UserNotFound
from login.models import EndedSession
from login.tokens import SID


@compiled
def users_with_session(pk: int, sid: str) -> QuerySet[Any]:
    ended = Exists(EndedSession.objects.filter(sid=sid))
    return User.objects.filter(pk=pk).annotate(session_ended=ended)


def user_of(token: Any) -> User:
    """Return the user of an access or refresh token. Raises AuthenticationFailed if it ended."""
    # Tokens from before sessions were introduced have none, and stay valid until they expire.
    users = users_with_session(int(token[api_settings.USER_ID_CLAIM]), token.get(SID, ""))
    if not users:
        raise UserNotFound
    [user] = users
    if not user.is_active:
        raise UserInactive
    if token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise PasswordChanged
    if user.session_ended:
        raise SessionEnded
    return user
