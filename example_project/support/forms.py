"""The forms of the demo."""

from typing import Any

from django import forms
from django.contrib.auth import get_user_model

from pm_realtime import send_to_role, send_to_room, send_to_user
from pm_realtime.conf import conf

from .models import ContactMessage


class ContactForm(forms.ModelForm):
    """The public contact form."""

    class Meta:
        model = ContactMessage
        fields = ["name", "email", "subject", "body"]
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "name"}),
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
            "body": forms.Textarea(attrs={"rows": 6}),
        }


class PersonField(forms.ModelChoiceField):
    """A choice of a user, by full name."""

    def label_from_instance(self, obj: Any) -> str:
        return describe(obj)


def role_choices() -> list[tuple[str, str]]:
    """The site's roles, lowest first."""
    return [(name, name.capitalize()) for name in conf.ROLES]


class NotificationForm(forms.Form):
    """A notification to a user, a room or a role."""

    TARGETS = [("user", "A person"), ("room", "A room"), ("role", "A role")]
    KINDS = [
        ("info", "Info"),
        ("success", "Success"),
        ("warning", "Warning"),
        ("error", "Error"),
    ]

    target = forms.ChoiceField(
        label="Send to", choices=TARGETS, initial="user", widget=forms.RadioSelect
    )
    user = PersonField(
        label="Person",
        queryset=get_user_model().objects.filter(is_active=True).order_by("username"),
        required=False,
        empty_label="Choose a person",
        help_text="Reaches every tab that person has open.",
    )
    room = forms.CharField(
        max_length=200,
        required=False,
        initial="support",
        help_text="Reaches everyone in the room now, such as support or admin:notifications.",
        widget=forms.TextInput(attrs={"list": "known-rooms", "autocomplete": "off"}),
    )
    role = forms.ChoiceField(
        choices=role_choices,
        required=False,
        help_text="Reaches everyone with this role or a higher one.",
    )
    type = forms.ChoiceField(label="Kind", choices=KINDS, initial="info")
    title = forms.CharField(max_length=100)
    body = forms.CharField(
        label="Text",
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        target = data.get("target")
        if target and not data.get(target) and target not in self.errors:
            self.add_error(target, f"Choose {dict(self.TARGETS)[target].lower()}.")
        return data

    def clean_room(self) -> str:
        room: str = self.cleaned_data["room"]
        if not room.isprintable():
            raise forms.ValidationError("The name of a room has no control characters.")
        return room

    def send(self) -> str:
        """Push the notification. Returns the description of its receivers."""
        data = self.cleaned_data
        payload = {key: data[key] for key in ("title", "body", "type") if data[key]}
        match data["target"]:
            case "user":
                send_to_user(data["user"], "notification", payload)
                return describe(data["user"])
            case "room":
                send_to_room(data["room"], "notification", payload)
                return f"the room {data['room']}"
            case _:
                send_to_role(data["role"], "notification", payload)
                return f"everyone with the role {data['role']} or higher"


def describe(user: Any) -> str:
    """The name of a user in the forms."""
    full_name = user.get_full_name()
    return f"{full_name} ({user.get_username()})" if full_name else user.get_username()
