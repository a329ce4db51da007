"""What the environment says, and what a server does when it says nothing."""

import json
import re

import environ

from almaFintech.settings import BASE_DIR, ENVIRONMENT
from almaFintech.tests.servers import PRODUCTION, python

EXAMPLE = (BASE_DIR / ".env.example").read_text()


def test_the_example_lists_every_variable_with_its_default():
    listed = dict(re.findall(r"^#(\w+)=(.*)$", EXAMPLE, re.MULTILINE))

    env = environ.Env(**ENVIRONMENT)
    env.ENVIRON = listed
    assert {name: env(name) for name in listed} == {
        name: default for name, (_, default) in ENVIRONMENT.items()
    }
    # In the order in which settings.py asks for them.
    assert list(listed) == list(ENVIRONMENT)


def test_the_example_explains_every_variable_and_sets_none():
    paragraphs = [paragraph.splitlines() for paragraph in EXAMPLE.strip().split("\n\n")]

    assert all(line.startswith("#") for lines in paragraphs for line in lines)
    for explanation, _variable in paragraphs[1:]:
        assert re.fullmatch(r"# .+\.", explanation)


def settings_of(names, **environment):
    code = f"from almaFintech import settings as s; import json; print(json.dumps({names}))"
    return json.loads(python("-c", code, **environment).stdout)


def test_production_is_strict():
    assert settings_of(
        "[len(s.AUTH_PASSWORD_VALIDATORS), s.SECURE_SSL_REDIRECT, s.SECURE_HSTS_SECONDS,"
        " s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE]",
        **PRODUCTION,
    ) == [4, True, 31_536_000, True, True]


def test_development_needs_nothing():
    assert settings_of(
        "[s.DEBUG, s.AUTH_PASSWORD_VALIDATORS, s.SECURE_SSL_REDIRECT, s.SECURE_HSTS_SECONDS,"
        " s.SESSION_COOKIE_SECURE, s.DATABASES['default']['NAME'], len(s.SECRET_KEY) >= 50]"
    ) == [True, [], False, 0, False, str(BASE_DIR / "db.sqlite3"), True]


def test_a_file_can_stand_in_for_the_environment(tmp_path):
    file = tmp_path / "env"
    file.write_text("ACCESS_TOKEN_MINUTES=7\nREFRESH_TOKEN_DAYS=8\nROTATE_REFRESH_TOKENS=true\n")

    # The environment wins where both speak.
    assert settings_of(
        "[s.SIMPLE_JWT['ACCESS_TOKEN_LIFETIME'].seconds,"
        " s.SIMPLE_JWT['REFRESH_TOKEN_LIFETIME'].days, s.SIMPLE_JWT['ROTATE_REFRESH_TOKENS']]",
        ENV_FILE=str(file),
        REFRESH_TOKEN_DAYS="9",
    ) == [420, 9, True]
