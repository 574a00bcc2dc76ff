"""`python -m partgate.cli` is `partgate`."""

from partgate.cli._app import main

main()
