"""Who may do what: `configs/reviewers.yaml` as values, and the one question that is asked of it."""

import datetime as dt
from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from tasks.core.errors import AccessError
from tasks.core.signing import public_key
from tasks.core.strict import Strict

Action = Literal["review", "promote", "rollback", "retire", "register"]
ACTIONS: tuple[str, ...] = get_args(Action)
ROLES: dict[str, tuple[Action, ...]] = {"reviewer": ("review",), "operator": ("promote", "rollback", "retire", "register")}


class Person(Strict):
    """Somebody with roles, and a public key if they review."""

    name: str = Field(min_length=1, description="The name that reviews are signed with.")
    roles: tuple[str, ...] = Field(min_length=1, description="The person's roles, each one of `roles`.")
    key: str | None = Field(None, description="Public key, as `equipoise keys new NAME` prints it. Needed to review.")
    accounts: tuple[str, ...] = Field((), description="Accounts under which this person works (EQUIPOISE_USER or the operating system's), besides the name.")
    revoked: dt.date | None = Field(None, description="The day the key was revoked. What it signed does not count for a promotion from then on.")

    @field_validator("key")
    @classmethod
    def _key(cls, value: str | None) -> str | None:
        if value is not None:
            public_key(value)
        return value

    def works_as(self, account: str) -> bool:
        """Whether an account is this person's."""
        return account == self.name or account in self.accounts


class People(Strict):
    """Roles, what each may do, and who has them. What nobody named may do, everybody may do, except to review."""

    roles: dict[str, tuple[Action, ...]] = Field(
        default=ROLES,
        description="What each role may do: " + ", ".join(f"`{action}`" for action in ACTIONS) + ".",
    )
    people: tuple[Person, ...] = Field((), description="Who has which roles.")

    @model_validator(mode="after")
    def _known(self) -> "People":
        names = [person.name for person in self.people]
        if len(set(names)) < len(names):
            raise ValueError("people: a name is used twice")
        keys = [person.key for person in self.people if person.key]
        if len(set(keys)) < len(keys):
            raise ValueError("people: two people have the same key")
        for person in self.people:
            for role in person.roles:
                if role not in self.roles:
                    raise ValueError(f"people: {person.name} has the role `{role}`, which is not one of {', '.join(self.roles)}")
        return self

    def named(self, name: str) -> Person | None:
        """The person of that name."""
        return next((person for person in self.people if person.name == name), None)

    def may(self, person: Person, action: Action) -> bool:
        """Whether one of the person's roles includes the action."""
        return any(action in self.roles[role] for role in person.roles)

    def authorise(self, action: Action, account: str) -> str:
        """The one point that every change of what is in production passes. Returns the name to record.

        What nobody named may do, everybody may, except to review. Raises: AccessError when it is others who may.
        """
        able = [person for person in self.people if self.may(person, action)]
        if not able and action != "review":
            return account
        for person in able:
            if person.works_as(account):
                return person.name
        names = ", ".join(person.name for person in able)
        raise AccessError(
            f"{account!r} may not {action}." + (f" {names} may." if able else " Nobody may yet."),
            where="configs/reviewers.yaml",
            fix="Ask one of them, or have your account added there (EQUIPOISE_USER says which account you use).",
        )
