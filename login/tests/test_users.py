"""Users, which only staff can see and edit."""

from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from conftest import PASSWORD
from login.models import Profile
from login.serializers import UserSerializer
from login.views import UserViewSet

NEW = {
    "username": "carol",
    "password": "the quick brown river",
    "first_name": "Carol",
    "last_name": "Diaz",
    "email": "carol@example.org",
    "is_staff": False,
    "is_active": True,
}


def shown(user):
    """Return what the API shows of a user: everything but the password."""
    return {"id": user.pk} | {name: getattr(user, name) for name in NEW if name != "password"}


def path(person):
    return f"/api/users/{person.user.pk}/"


def stored():
    return list(User.objects.order_by("pk").values())


def test_users_are_listed_by_id(boss, alice, bob):
    response = boss.get("/api/users/")

    assert response.status_code == 200
    assert response.json() == [shown(person.user) for person in (boss, alice, bob)]


def test_a_user_is_shown(boss, alice):
    response = boss.get(path(alice))

    assert (response.status_code, response.json()) == (200, shown(alice.user))


def test_a_created_user_can_log_in_and_has_a_profile(boss, anyone):
    response = boss.post("/api/users/", NEW)

    user = User.objects.get(username="carol")
    assert (response.status_code, response.json()) == (201, shown(user))
    assert shown(user) == {"id": user.pk} | {k: v for k, v in NEW.items() if k != "password"}
    assert user.password != NEW["password"]
    assert user.check_password(str(NEW["password"]))
    assert Profile.objects.filter(user=user).count() == 1
    login = {"username": "carol", "password": NEW["password"]}
    assert anyone.post("/api/login/", login, format="json").status_code == 200


def test_a_username_and_a_password_are_enough(boss):
    response = boss.post("/api/users/", {"username": "carol", "password": " spaces count "})

    user = User.objects.get(username="carol")
    assert (response.status_code, response.json()) == (201, shown(user))
    assert (user.is_active, user.is_staff, user.is_superuser) == (True, False, False)
    assert user.check_password(" spaces count ")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_an_edit_changes_the_user_and_hashes_the_password(boss, alice, method):
    response = boss.request(method, path(alice), NEW)

    alice.user.refresh_from_db()
    assert (response.status_code, response.json()) == (200, shown(alice.user))
    assert alice.user.username == "carol"
    assert alice.user.password != NEW["password"]
    assert alice.user.check_password(NEW["password"])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_an_edit_without_a_password_keeps_it(boss, alice, method):
    response = boss.request(method, path(alice), {"username": "alice", "email": "a@example.org"})

    assert response.status_code == 200
    alice.user.refresh_from_db()
    assert alice.user.email == "a@example.org"
    assert alice.user.check_password(PASSWORD)
    # Omitted fields are unchanged.
    assert (alice.user.is_active, alice.user.is_staff) == (True, False)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_full_edit_needs_the_username(boss, alice, method):
    before = stored()

    response = boss.request(method, path(alice), {"email": "a@example.org"})

    assert response.status_code == 400
    assert response.json() == {"username": ["This field is required."]}
    assert stored() == before


@pytest.fixture
def before_write(monkeypatch):
    """Return a function that runs `edit` after an edit has read the user and before it writes."""

    def let(edit):
        def update(self, instance, validated_data):
            edit(User.objects.filter(pk=instance.pk))
            return write(self, instance, validated_data)

        write = UserSerializer.update
        monkeypatch.setattr(UserSerializer, "update", update)

    return let


def test_an_edit_does_not_undo_a_deactivation(boss, alice, before_write):
    before_write(lambda users: users.update(is_active=False))

    response = boss.patch(path(alice), {"first_name": "Alice"})

    assert response.status_code == 200
    assert response.json() == shown(alice.user) | {"first_name": "Alice", "is_active": False}
    assert User.objects.get(pk=alice.user.pk).is_active is False


def test_an_edit_does_not_bring_a_deleted_user_back(boss, alice, before_write):
    before_write(lambda users: users.delete())

    response = boss.patch(path(alice), {"first_name": "Alice"})

    assert response.status_code == 404
    # The deletion of this test is in the transaction of the edit, and rolled back with it.
    assert not User.objects.filter(first_name="Alice").exists()


def test_an_edit_of_a_user_deleted_before_the_lock_returns_404(boss, alice, monkeypatch):
    def get_object(self):
        user = read(self)
        User.objects.filter(pk=user.pk).delete()
        return user

    read = UserViewSet.get_object
    monkeypatch.setattr(UserViewSet, "get_object", get_object)

    response = boss.patch(path(alice), {"first_name": "Alice"})

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_the_id_and_other_rights_cannot_be_written(boss, alice):
    response = boss.patch(path(alice), {"id": 77, "is_superuser": True, "date_joined": None})

    assert (response.status_code, response.json()) == (200, shown(alice.user))
    assert User.objects.get(username="alice").is_superuser is False


def test_deleting_a_user_deletes_the_profile_and_keeps_the_account(boss, alice):
    response = boss.delete(path(alice))

    assert (response.status_code, response.content) == (204, b"")
    assert not User.objects.filter(username="alice").exists()
    assert not Profile.objects.filter(user_id=alice.user.pk).exists()
    assert alice.balance == 1_000_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "alice"),
        ("username", ""),
        ("username", None),
        ("username", "two words"),
        ("username", "x" * 151),
        ("username", ["carol"]),
        ("username", True),
        ("password", ""),
        ("password", None),
        ("password", "x" * 129),
        ("password", {"a": 1}),
        ("email", "nowhere"),
        ("first_name", "x" * 151),
        ("last_name", "x\0"),
        ("is_staff", "perhaps"),
        ("is_staff", None),
        ("is_active", []),
    ],
)
def test_bad_input_names_the_field_and_changes_nothing(boss, alice, bob, field, value):
    before = stored()

    created = boss.post("/api/users/", NEW | {field: value})
    edited = boss.patch(path(bob), {field: value})

    assert (created.status_code, list(created.json())) == (400, [field])
    assert (edited.status_code, list(edited.json())) == (400, [field])
    assert stored() == before


@pytest.fixture
def validators(settings):
    """Use the password validators of production, as in settings.py."""
    name = "django.contrib.auth.password_validation."
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": name + "UserAttributeSimilarityValidator"},
        {"NAME": name + "MinimumLengthValidator"},
    ]


@pytest.mark.parametrize("password", ["short", "wonderland"])
def test_a_weak_password_is_refused(boss, alice, validators, password):
    alice.user.email = "wonder@example.org"
    alice.user.save()
    before = stored()

    created = boss.post("/api/users/", NEW | {"email": alice.user.email, "password": password})
    # The password is compared with the names of the user, although the edit omits them.
    edited = boss.patch(path(alice), {"password": password})

    assert (created.status_code, list(created.json())) == (400, ["password"])
    assert (edited.status_code, list(edited.json())) == (400, ["password"])
    assert stored() == before


@pytest.mark.parametrize(
    ("method", "on_list"),
    [
        ("GET", True),
        ("POST", True),
        ("GET", False),
        ("POST", False),
        ("PUT", False),
        ("PATCH", False),
        ("DELETE", False),
    ],
)
def test_users_and_strangers_have_no_access(alice, bob, anyone, method, on_list):
    before = stored()
    # The user's own id is no exception.
    where = "/api/users/" if on_list else path(alice)

    assert alice.request(method, where, NEW).status_code == 403
    assert anyone.generic(method, where).status_code == 401
    assert stored() == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_the_list_itself_cannot_be_edited(boss, method):
    before = stored()

    assert boss.request(method, "/api/users/", NEW).status_code == 405
    assert stored() == before


# --- Forms ---------------------------------------------------------------------------------


def send_form(boss, method, path, form):
    token = f"Bearer {AccessToken.for_user(boss.user)}"
    return APIClient().generic(
        method,
        path,
        urlencode(form),
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": token},
    )


def test_a_form_that_leaves_the_flags_out_makes_an_active_user(boss, anyone):
    form = {"username": "carol", "password": "the quick brown river"}

    response = send_form(boss, "POST", "/api/users/", form)

    assert (response.status_code, response.json()["is_active"]) == (201, True)
    assert response.json()["is_staff"] is False
    assert anyone.post("/api/login/", form, format="json").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_form_that_leaves_the_flags_out_keeps_them(boss, alice, method):
    User.objects.filter(pk=alice.user.pk).update(is_staff=True)

    response = send_form(boss, method, path(alice), {"username": "alice"})

    assert response.status_code == 200
    alice.user.refresh_from_db()
    assert (alice.user.is_active, alice.user.is_staff) == (True, True)


def test_a_form_can_clear_a_flag(boss, alice):
    response = send_form(boss, "PATCH", path(alice), {"is_active": "false"})

    assert (response.status_code, response.json()["is_active"]) == (200, False)


# --- Names that look alike -------------------------------------------------------------------

WIDE_BOB = "\uff42ob"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_an_edited_name_is_stored_in_its_plain_form(boss, alice, method):
    response = boss.request(method, path(alice), {"username": WIDE_BOB})

    assert (response.status_code, response.json()["username"]) == (200, "bob")


def test_a_name_that_looks_like_anothers_is_taken(boss, alice, bob):
    before = stored()
    new = NEW | {"username": WIDE_BOB}
    edit = boss.patch(path(alice), {"username": WIDE_BOB})

    for response in edit, boss.post("/api/users/", new):
        assert response.status_code == 400
        assert response.json() == {"username": ["A user with that username already exists."]}
    assert stored() == before
