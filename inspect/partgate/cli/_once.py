"""Options that take one value are given once: typer would take the last and say nothing of the others."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand


class OnceCommand(TyperCommand):
    """A command that refuses an option given twice which takes one value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, as any command does."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for option, times in Counter(order).items():  # arguments are always given once
            takes_one = not (getattr(option, "multiple", True) or getattr(option, "is_flag", True))
            if times > 1 and takes_one:
                name = max(option.opts, key=len)
                raise typer.BadParameter(f"given {times} times; it takes one value", ctx, param_hint=name)
        rest: list[str] = super().parse_args(ctx, args)
        return rest


class Commands(typer.Typer):
    """A group of such commands."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Add a command, as `typer.Typer.command` does."""
        return super().command(name, **{"cls": OnceCommand, **settings})
