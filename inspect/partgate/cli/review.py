"""`partgate review`: the QA web application."""

from pathlib import Path
from typing import Annotated

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, app
from partgate.cli._output import out
from partgate.cli._signals import stop_on_signals


@app.command()
def review(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8080,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another name the site is reached by. Repeatable.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="A PEM file; with it the site is HTTPS.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="Its key, if not in the same file.")] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Serve the review site until Ctrl-C or SIGTERM.

    The first start prints a one-time link on which the first reviewer chooses a name and a password;
    there is no default account. Browsers keep a login only over HTTPS or on this machine itself: give
    a certificate to let other machines in.
    """
    from partgate.records import Home
    from partgate.review import serve

    def announce(sentence: str) -> None:
        out.print(sentence, markup=False)

    with stop_on_signals() as stop:
        serve(
            Home.open(home),
            host=host,
            port=port,
            announce=announce,
            stop=stop,
            allowed_hosts=allow_host or (),
            certificate=certificate,
            private_key=private_key,
        )
