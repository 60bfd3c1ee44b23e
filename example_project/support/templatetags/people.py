"""How a person is shown: people.js does the same in the browser."""

from typing import Final

from django import template

COLOURS: Final = 6

register = template.Library()


@register.filter
def colour(user_id: object) -> int:
    """The number of the colour of a user, by the primary key."""
    total = 0
    for character in str(user_id):
        total = (total * 31 + ord(character)) % 997
    return total % COLOURS


@register.filter
def initials(name: str) -> str:
    """The first letters of the first and of the last name."""
    words = name.split()
    return "".join(word[0] for word in words[:1] + words[1:][-1:]).upper() or "?"
