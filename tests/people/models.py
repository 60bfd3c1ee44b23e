from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AbstractUser, Group
from django.db import models


class Numbered(AbstractUser):
    """The primary key is a number."""

    class Meta(AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"


class Named(AbstractUser):
    """The primary key is a text, which may look like a number or be long."""

    username = models.CharField(max_length=300, primary_key=True)

    class Meta(AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"


class BareManager(BaseUserManager["Bare"]):
    def create_user(self, username: str, is_superuser: bool = False, **fields: Any) -> "Bare":
        return self.create(email=username, level="master" if is_superuser else "user")


class Bare(AbstractBaseUser):
    """A minimal user model: no names, flags or groups."""

    email = models.CharField(max_length=100, unique=True)
    level = models.CharField(max_length=20)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar = []
    objects = BareManager()

    class Meta:
        swappable = "AUTH_USER_MODEL"


def level_of(user: Any) -> str:
    """The role resolver of a site with :class:`Bare` users."""
    return str(user.level)


class MemberManager(BaseUserManager["Member"]):
    def create_user(self, username: str, **fields: Any) -> "Member":
        return self.create(username=username, **fields)


class Member(AbstractBaseUser):
    """Related to groups through a model of its own."""

    username = models.CharField(max_length=100, unique=True)
    first_name = models.CharField(max_length=100)
    last_name = models.CharField(max_length=100)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    is_superuser = models.BooleanField(default=False)
    groups = models.ManyToManyField(Group, through="Membership", related_name="member_set")

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar = []
    objects = MemberManager()


class Employee(Member):
    """A child model: a row of its own beside that of its :class:`Member`."""


class Clerk(Member):
    """A proxy: another class for the rows of :class:`Member`."""

    class Meta:
        proxy = True


class Membership(models.Model):
    member = models.ForeignKey(Member, models.CASCADE)
    group = models.ForeignKey(Group, models.CASCADE)
    since = models.DateField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.member} since {self.since}"
