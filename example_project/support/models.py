"""Messages from the contact form."""

from typing import Any

from django.db import models
from django.utils.text import Truncator


class ContactMessage(models.Model):
    """One submission of the contact form."""

    name = models.CharField(max_length=100)
    email = models.EmailField()
    subject = models.CharField(max_length=150)
    body = models.TextField("message", max_length=5000)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return f"{self.subject} ({self.name})"

    def summary(self) -> dict[str, Any]:
        """The payload of the push to the support room."""
        return {
            "id": self.pk,
            "name": self.name,
            "subject": self.subject,
            "excerpt": Truncator(self.body).chars(280),
            "created": self.created,
        }
