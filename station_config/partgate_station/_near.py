"""What somebody may have meant who named a thing that is not there."""

import difflib
from collections.abc import Collection


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return ` (did you mean ...?)` where something is spelled much alike, else all that there is.

    Args:
        word: what was named.
        known: what there is; nothing is returned where that is nothing.
    """
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (known here: {', '.join(known)})" if known else ""
