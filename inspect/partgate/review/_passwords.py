"""Passwords: what may be one, how it is kept, and how long a check takes."""

import re
import unicodedata
from dataclasses import dataclass

from partgate.review._errors import PasswordRefused
from partgate.review._slots import Slots

MIN_LENGTH = 8
MAX_LENGTH = 128
MAX_NAME_LENGTH = 64

# What is tried first everywhere; with the rule on repetition the short list catches most of it.
COMMON = frozenset(
    re.findall(
        r"\S+",
        """
        12345678 123456789 1234567890 87654321 11223344 12341234 1q2w3e4r 1qaz2wsx abc12345 abcd1234
        admin123 administrator changeme changeme1 computer default1 football iloveyou inspection
        letmein1 letmein123 operator partgate partgate1 passw0rd password password1 password12
        password123 passwort passwort1 p@ssw0rd qualitaet quality1 qwer1234 qwertyui qwerty12 qwerty123
        qwertyuiop qwertzui qwertz123 sunshine superman trustno1 welcome1 welcome123 willkommen
        """,
    )
)


def checked_name(name: str) -> str:
    """Return a person's name as it is kept: in one Unicode form, without blanks at its ends.

    Raises:
        PasswordRefused: it is empty, too long or holds characters that cannot be seen.
    """
    kept = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(kept) <= MAX_NAME_LENGTH:
        raise PasswordRefused(f"A name has 1 to {MAX_NAME_LENGTH} characters; this one has {len(kept)}.")
    if not kept.isprintable():
        raise PasswordRefused("The name holds a character that cannot be seen; type it again.")
    return kept


def check_password(password: str, *, name: str, again: str) -> None:
    """Refuse a password that is too short, too long or among the first that anyone would try.

    Raises:
        PasswordRefused: says what is wrong; there are no rules on kinds of characters.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise PasswordRefused(
            f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters; this one has {len(password)}."
        )
    plain = password.casefold()
    if plain in COMMON or len(set(plain)) == 1:
        raise PasswordRefused("This password is among the first that anyone would try; choose another.")
    if plain == name.casefold():
        raise PasswordRefused("The password is the name; choose another.")
    if password != again:
        raise PasswordRefused("The two passwords differ; type them again.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of a password gave."""

    right: bool
    new_hash: str | None = None
    """Set where the stored hash was made with older parameters and should be replaced."""


class Passwords:
    """Argon2id by pwdlib. A hash takes 64 MiB, so only two are worked on at once."""

    def __init__(self) -> None:
        from pwdlib import PasswordHash

        self._hasher = PasswordHash.recommended()
        self._slots = Slots(name="passwords", count=2, timeout_s=10)
        self._nobody = self._hasher.hash("the password of nobody")

    def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        with self._slots.one():
            return self._hasher.hash(password)

    def check(self, password: str, kept: str | None) -> Checked:
        """Check a password; an unknown person (None) takes as long as a known one."""
        from pwdlib.exceptions import UnknownHashError

        with self._slots.one():
            try:
                right, new_hash = self._hasher.verify_and_update(password, kept or self._nobody)
            except UnknownHashError:
                self._hasher.verify(password, self._nobody)
                return Checked(right=False)
        return Checked(right=right and kept is not None, new_hash=new_hash if kept else None)
