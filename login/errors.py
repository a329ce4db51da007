"""Errors of logins and tokens: 401 with `WWW-Authenticate`."""

from rest_framework.exceptions import NotAuthenticated
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken


class LoginFailed(AuthenticationFailed):
    default_detail = "No active account found with the given credentials"
    default_code = "no_active_account"


class MalformedHeader(AuthenticationFailed):
    default_detail = "Authorization header must contain two space-delimited values"
    default_code = "bad_authorization_header"


class NoAccessToken(AuthenticationFailed):
    default_detail = "Given token not valid for any token type"
    default_code = InvalidToken.default_code


class TokenExpired(AuthenticationFailed):
    default_detail = "The token has expired."
    default_code = "token_expired"


class SessionEnded(AuthenticationFailed):
    default_detail = "The session of the token has ended."
    default_code = InvalidToken.default_code


class UserNotFound(AuthenticationFailed):
    default_detail = "User not found"
    default_code = "user_not_found"


class UserInactive(AuthenticationFailed):
    default_detail = "User is inactive"
    default_code = "user_inactive"


class PasswordChanged(AuthenticationFailed):
    default_detail = "The user's password has been changed."
    default_code = "password_changed"


OF_USERS = (UserNotFound, UserInactive, PasswordChanged)
OF_REFRESH = (TokenExpired, InvalidToken, *OF_USERS)
OF_ACCESS = (NotAuthenticated, MalformedHeader, TokenExpired, NoAccessToken, *OF_USERS)
