"""File names as they may stand in a message."""

from pathlib import Path


def shown(path: Path | str) -> str:
    r"""Return a path with everything that does not print escaped.

    A file name may hold line breaks, terminal commands, or bytes that are no text; a log line and
    a terminal must survive them. ``"a\nb"`` is shown as ``"a\\nb"``.
    """
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in str(path)
    )
