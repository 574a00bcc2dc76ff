"""`partgate doctor`: what this machine can do, and what of it is unfit."""

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, app
from partgate.cli._checks_text import checks_json, counted, looking, print_checks
from partgate.cli._output import out, print_json

EXIT_UNFIT = 69


@app.command()
def doctor(home: HomeOption = DEFAULT_HOME, as_json: JsonFlag = False) -> None:
    """Say what this machine can do, what of it is unfit for a station, and what to do about it.

    Looked at are the runtimes (which one `runtime = "auto"` takes, and what the others lack), processor,
    memory, clock, the home and its disk, the trusted signers, and the GenTL producers with their cameras.
    Nothing is changed; a station may run meanwhile.

    `ok` is as it should be, `note` should be known, `unfit` keeps parts from being judged or kept.
    Exit code 69 if anything is unfit. `partgate check STATION.toml` says the same of one station.
    """
    from partgate.fitness import State, examine
    from partgate.records import Home

    with looking() as show:
        checks = examine(Home(path=home.expanduser().absolute()), on_look=show)
    fit = not any(check.state is State.UNFIT for check in checks)
    if as_json:
        print_json({"fit": fit, "checks": checks_json(checks)})
    else:
        print_checks(checks)
        out.print(f"This machine is {'fit' if fit else 'NOT FIT'} for a station: {counted(checks)}.")
    if not fit:
        raise typer.Exit(EXIT_UNFIT)
