"""`partgate ledger`: the balance of triggers and what became of each."""

from dataclasses import asdict
from typing import Annotated

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, app
from partgate.cli._ledger_text import (
    balance_json,
    balance_line,
    in_work,
    orphan_line,
    suspect_line,
    unconfirmed_line,
)
from partgate.cli._output import out, print_json


@app.command()
def ledger(
    station: Annotated[str | None, typer.Option(help="Only this station's parts.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Print what became of every trigger; exit code 1 if the ledger does not balance.

    `open` counts parts without a verdict: while a station runs those are in work, and no fault; afterwards
    there is none.
    `orphan frames` counts the frames that were given to no part: late, unasked for, or not certainly one's.
    `signals not confirmed` counts the parts whose verdict the gate did not confirm: it stayed shut for them.
    `suspect` names the parts that a model judged before it was found to answer wrongly.
    """
    import contextlib

    from partgate.fitness import running_stations
    from partgate.records import (
        Database,
        Home,
        balance,
        count_orphans,
        count_unconfirmed,
        require_station,
        stations_with_open_parts,
        suspects,
    )

    opened = Home.open(home, create=False)
    # Before the rows are read: one that has ended since had parts in work then.
    at_work = running_stations(opened)
    with contextlib.closing(Database.open(opened)) as database, database.read() as session:
        if station is not None:
            require_station(session, station)
        result = balance(session, station)
        running = all(one in at_work for one in stations_with_open_parts(session, station))
        flagged = suspects(session, station)
        orphans = count_orphans(session, station)
        unconfirmed = count_unconfirmed(session, station)
    working = in_work(result, running=running)
    if as_json:
        suspect = [asdict(parts) for parts in flagged]
        others = {"suspect": suspect, "orphan_frames": orphans, "unconfirmed_signals": unconfirmed}
        print_json({**balance_json(result), "in_work": working, **others})
    else:
        out.print(balance_line(result, in_work=working))
        out.print(orphan_line(orphans))
        if unconfirmed:
            out.print(unconfirmed_line(unconfirmed))
        for parts in flagged:
            out.print(suspect_line(parts), markup=False)
    if not (result.balanced or working):
        raise typer.Exit(1)
