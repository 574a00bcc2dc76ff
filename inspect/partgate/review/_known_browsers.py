"""Browsers in which a person has logged in before: wrong guesses made elsewhere do not shut them out.

Such a browser has a cookie for each of its people, signed with what is kept of their password: nothing
more has to be stored, and a new password makes it worthless. It lets nobody in; tries with it are counted
by themselves.
"""

import hashlib
import hmac
import re
from datetime import timedelta

from partgate.review._tokens import MAX_TOKEN_LENGTH, same

KEPT_FOR = timedelta(days=90)
TOKEN = re.compile(rf"(?P<browser>[\w-]{{1,{MAX_TOKEN_LENGTH}}})\.(?P<signature>[0-9a-f]{{64}})", re.ASCII)


def name_mark(name: str) -> str:
    """Return what tells the cookies of a browser's people apart."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def browser_token(browser: str, user_id: int, password_hash: str) -> str:
    """Return the value of the cookie by which a browser is known for a person who has logged in there."""
    return f"{browser}.{_signature(browser, user_id, password_hash)}"


def known_browser(token: str, user_id: int, password_hash: str) -> str | None:
    """Return by what a browser's tries are counted; None if the cookie is not of this person's making."""
    found = TOKEN.fullmatch(token)
    if found is None or not same(found["signature"], _signature(found["browser"], user_id, password_hash)):
        return None
    return found["browser"]


def _signature(browser: str, user_id: int, password_hash: str) -> str:
    said = f"partgate browser {user_id} {browser}"
    return hmac.new(password_hash.encode(), said.encode(), hashlib.sha256).hexdigest()
