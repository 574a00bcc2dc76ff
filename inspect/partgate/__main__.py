"""`partgate`, also as `python -m partgate`."""

from partgate._imports import uncollected


def main() -> None:
    """Run the command line."""
    with uncollected():
        from partgate.cli import main as command_line
    command_line()


if __name__ == "__main__":
    main()
