"""Requests with a token."""

from typing import Any

from rest_framework.test import APIClient


def renew(client: APIClient, token: object) -> Any:
    return client.post("/api/login/refresh/", {"refresh": str(token)}, format="json")


def look(client: APIClient, token: object) -> Any:
    return client.get("/api/accounts/", headers={"Authorization": f"Bearer {token}"})
