"""Hold the documents to the program: commands, options, make targets, links and paths they name.

Run by `make check`. Every `partgate ...` in a code span or block must name a command and options
that exist, every command must stand in docs/reference/command-line.md, every `make X` must be a
target, every relative link must lead to a file.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import typer.main

from partgate.cli import app

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs/reference/command-line.md"
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def documents() -> list[Path]:
    """Return all Markdown files of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def code_lines(text: str) -> Iterator[str]:
    """Yield the lines of code blocks and the code spans of a document, continuation lines joined."""
    for found in CODE.findall(text):
        yield from found.strip("`").replace("\\\n", " ").splitlines()


def commands() -> dict[str, set[str]]:
    """Return every command of the program with the options it takes, by its full name."""
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        options = {opt for p in command.params for opt in [*p.opts, *p.secondary_opts]}  # type: ignore[attr-defined]
        found[name] = options | {"--help"}
        for child_name, child in getattr(command, "commands", {}).items():
            walk(child, f"{name} {child_name}")

    walk(typer.main.get_command(app), "partgate")
    return found


def command_problems(line: str, known: dict[str, set[str]]) -> Iterator[str]:
    """Yield what is wrong with the partgate commands on one line of code."""
    for call in re.findall(r"(?:^|[\s/])(partgate(?:\s(?:\\\||[^|;&#])*)?)", line):
        name, *rest = call.split()
        while rest and f"{name} {rest[0]}" in known:
            name = f"{name} {rest.pop(0)}"
        if name == "partgate" and rest and not rest[0].startswith(("-", ".", "_", "<")) and rest[0].islower():
            if rest[0].isidentifier():
                yield f"'partgate {rest[0]}' is not a command"
            continue
        for word in rest:
            option = word.strip("[]().,").partition("=")[0]
            if option.startswith("--") and option not in known[name]:
                yield f"'{name}' has no option {option}"


def make_targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def problems(path: Path, known: dict[str, set[str]], targets: set[str]) -> Iterator[str]:
    """Yield everything that is wrong in one document."""
    text = path.read_text()
    for line in code_lines(text):
        yield from command_problems(line, known)
        for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", line):
            if target not in targets:
                yield f"'make {target}' is not a target"
    for link in LINK.findall(CODE.sub("", text)):
        if "://" not in link and not link.startswith("mailto:") and not (path.parent / link).exists():
            yield f"the link to {link} leads nowhere"


def main() -> int:
    """Print every problem; return 1 if there is one."""
    known, targets = commands(), make_targets()
    found = [f"{path.relative_to(ROOT)}: {p}" for path in documents() for p in problems(path, known, targets)]
    reference = REFERENCE.read_text()
    found += [
        f"docs/reference/command-line.md: '{name}' is missing"
        for name in known
        if name not in {"partgate", "partgate models"} and f"`{name}" not in reference
    ]
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
