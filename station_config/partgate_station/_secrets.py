"""Passwords in texts that people and logs get to see."""

import re

_IN_ADDRESS = re.compile(r"(://[^:/@\s\"']*):[^/@\s\"']*@")
_NAMED = re.compile(r"(pass\w*?|pwd|token|key|secret|auth)=[^&/?#\s\"']*", re.IGNORECASE)


def masked(text: str) -> str:
    """Return a text without the passwords of addresses in it: `rtsp://name:***@host`, `pwd=***`."""
    return _NAMED.sub(r"\1=***", _IN_ADDRESS.sub(r"\1:***@", text))
