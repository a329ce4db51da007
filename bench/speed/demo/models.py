"""The demo's tables. A transfer moves money in save(), without locks."""

from typing import Any

from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models import F
from rest_framework.exceptions import ValidationError

from accounts.currencies import currency_choices


class Account(models.Model):
    objects: models.Manager["Account"]

    id = models.BigAutoField(primary_key=True)
    currency = models.CharField(max_length=3, choices=currency_choices)
    balance = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.pk}"


class Profile(models.Model):
    objects: models.Manager["Profile"]

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="profile")
    accounts = models.ManyToManyField(Account)

    def __str__(self) -> str:
        return f"{self.user}"


class Transfer(models.Model):
    objects: models.Manager["Transfer"]

    id = models.BigAutoField(primary_key=True)
    date = models.DateTimeField(auto_now_add=True)
    origin = models.ForeignKey(
        Account, on_delete=models.SET_NULL, null=True, related_name="out_transfers"
    )
    destination = models.ForeignKey(
        Account, on_delete=models.SET_NULL, null=True, related_name="in_transfers"
    )
    balance = models.PositiveBigIntegerField(default=0)
    cancelled = models.BooleanField(default=True)

    def __str__(self) -> str:
        return f"{self.pk}"

    def save(self, *args: Any, **options: Any) -> None:
        if self.pk is not None:
            return super().save(*args, **options)
        with transaction.atomic():
            if self.origin.currency != self.destination.currency:
                raise ValidationError("The currencies differ")
            payer = Account.objects.filter(pk=self.origin.pk)
            if not payer.filter(balance__gte=self.balance).exists():
                raise ValidationError("The origin has insufficient funds")
            payer.update(balance=F("balance") - self.balance)
            receiver = Account.objects.filter(pk=self.destination.pk)
            receiver.update(balance=F("balance") + self.balance)
            return super().save(*args, **options)
