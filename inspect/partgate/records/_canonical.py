"""One text for one JSON value, so that its hash means something."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> tuple[Any, bytes]:
    """Return a value as JSON gives it back, and its one text.

    Keys are sorted and text is UTF-8; numbers that JSON does not have are refused with ValueError.
    """
    # There and back first: keys that are numbers become text and sort as such.
    plain = json.loads(json.dumps(value, allow_nan=False))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return plain, text.encode("utf-8", "surrogatepass")


def sha256(value: Any) -> str:
    """Return the SHA-256 of a value's one text, 64 hex digits."""
    return hashlib.sha256(canonical(value)[1]).hexdigest()
