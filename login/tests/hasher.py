"""A password hasher that counts its runs."""

from django.contrib.auth.hashers import MD5PasswordHasher


class CountingHasher(MD5PasswordHasher):
    """Fast hasher with a list that grows by one for each password that it hashes."""

    runs: list[None] = []

    def encode(self, password, salt):
        self.runs.append(None)
        return super().encode(password, salt)
