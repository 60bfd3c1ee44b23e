import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A custom user whose primary key is no number."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta(AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"


class Note(models.Model):
    """Something to save in a transaction."""

    text = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.text
