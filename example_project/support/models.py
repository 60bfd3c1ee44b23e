"""Messages to the support desk: of its chat, and of the contact form."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class Solvable(models.Model):
    """A message that is solved at some time, by somebody."""

    solved_at = models.DateTimeField(null=True, blank=True)
    solved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )

    class Meta:
        abstract = True

    @property
    def is_solved(self) -> bool:
        return self.solved_at is not None

    def set_solved(self, is_solved: bool, by: Any) -> None:
        """Save that ``by`` has solved it, or that it is open again."""
        self.solved_at = timezone.now() if is_solved else None
        self.solved_by = by if is_solved else None
        self.save(update_fields=["solved_at", "solved_by"])


class ContactMessage(Solvable):
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


class SupportMessage(Solvable):
    """One message of the support chat."""

    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    text = models.TextField(max_length=2000)
    created = models.DateTimeField(auto_now_add=True)
    #: The id of its command, so that the command is carried out once even if a process is killed.
    request_id = models.CharField(max_length=200, editable=False)

    class Meta:
        ordering = ["-created"]
        constraints = [
            models.UniqueConstraint(fields=["author", "request_id"], name="support_message_once"),
        ]

    def __str__(self) -> str:
        return f"{self.text[:60]} ({self.author})"
