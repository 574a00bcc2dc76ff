"""What a station is doing, in lines for people and in JSON for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.text import Text

from partgate.cli._ledger_text import balance_json, balance_line, in_work
from partgate.cli._status_disks import Disks, disks_json
from partgate_station import Verdict

if TYPE_CHECKING:
    from partgate.records import Activity, Balance, Holder, LastPart
    from partgate_engines import CoreSplit

SHORT = 12  # digits of a model's id
IMAGE_HEALTH = "IMAGE_HEALTH: "
_STYLES = {
    Verdict.ACCEPT: "green",
    Verdict.REVIEW: "yellow",
    Verdict.REJECT: "red",
    Verdict.UNDECIDED: "magenta",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StationNow:
    """A station, whether it runs or not."""

    activity: "Activity"
    holder: "Holder | None"
    """The process that runs it."""

    cores: "CoreSplit | None" = None
    """Which cores it judges on; None where it has none of its own, or does not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeNow:
    """All stations of a home, and the disks they share, at one moment."""

    stations: Sequence[StationNow]
    disks: Disks


def status_json(now: HomeNow) -> dict[str, Any]:
    """Return the status as programs rely on it."""
    return {
        "stations": [_station_json(station) for station in now.stations],
        **disks_json(now.disks),
    }


def _station_json(now: StationNow) -> dict[str, Any]:
    doing, holder, last = now.activity, now.holder, now.activity.last
    return {
        "station": doing.station_id,
        "name": doing.name,
        "running": holder is not None,
        "pid": holder.pid if holder else None,
        "since": holder.since.isoformat() if holder and holder.since else None,
        "cores": _cores_json(now.cores),
        "product": last.product if last else None,
        "recipe_version": last.recipe_version if last else None,
        "model": last.model_id if last else None,
        "active_model": doing.active_model_id,
        "runtime": last.runtime if last else None,
        "ledger": balance_json(doing.in_all),
        "today": {verdict.value.lower(): parts for verdict, parts in doing.today.items()}
        | {"open": doing.today_open},
        "last_part": _last_json(last, doing.at) if last else None,
        "image_health_alarm": _image_alarm(now),
        "parts_last_minute": doing.parts_last_minute,
        "undecided_last_hour": dict(doing.undecided_last_hour),
    }


def _cores_json(cores: "CoreSplit | None") -> dict[str, list[int]] | None:
    return None if cores is None else {"judging": sorted(cores.judging), "others": sorted(cores.others)}


def _last_json(last: "LastPart", at: datetime) -> dict[str, Any]:
    return {
        "trigger": last.trigger_id,
        "at": last.triggered_at.isoformat(),
        "age_s": round((at - last.triggered_at).total_seconds(), 3),
        "verdict": last.verdict.value if last.verdict else None,
        "score": last.score,
        "reason": last.reason,
        "latency_ms": last.latency_ms,
    }


def status_text(now: HomeNow) -> Text:
    """Return the status as a person reads it."""
    lines = [line for station in now.stations for line in (*_station_lines(station), Text())]
    if not now.stations:
        lines = [Text("No station has run in this home yet: partgate run STATION.toml"), Text()]
    lines += [_line(*said) for said in now.disks.lines()]
    return Text("\n").join(lines)


def _station_lines(now: StationNow) -> Iterator[Text]:
    doing, last = now.activity, now.activity.last
    title = f"Station '{doing.station_id}'" + (f" ({doing.name})" if doing.name else "")
    running = f"running, {now.holder}" if now.holder else "not running"
    yield Text.assemble((title, "bold"), ": ", (running, "green" if now.holder else "yellow"))
    if now.cores is not None:
        yield _line("cores", str(now.cores))
    if last is not None:
        yield _line("judges", _judges(last))
        if doing.active_model_id and doing.active_model_id != last.model_id:
            yield _line("in force", f"model {doing.active_model_id[:SHORT]}, not yet taken up", "yellow")
        yield _last_line(last, doing.at)
    if (alarm := _image_alarm(now)) is not None:
        yield _line("ALARM", f"{alarm}; parts are UNDECIDED: look at light, lens and mount", "bold red")
    yield _line("pace", f"{doing.parts_last_minute} parts in the last minute")
    yield _line("today", _today(doing))
    yield _in_all(doing.in_all, running=now.holder is not None)
    if doing.undecided_last_hour:
        reasons = ", ".join(f"{code} {parts}" for code, parts in doing.undecided_last_hour.items())
        yield _line("undecided", f"in the last hour: {reasons}", "magenta")


def _image_alarm(now: StationNow) -> str | None:
    """Return why a running station decides nothing because of its images; None while it does, or is down.

    While there is such an alarm it is the reason of every part, so the last one tells.
    """
    reason = "" if now.holder is None else now.activity.last_reason or ""
    return reason.removeprefix(IMAGE_HEALTH) if reason.startswith(IMAGE_HEALTH) else None


def _in_all(balance: "Balance", *, running: bool) -> Text:
    """Return the ledger's balance; while the station runs, some parts may be in work."""
    working = in_work(balance, running=running)
    fine = balance.balanced or working
    return _line("in all", balance_line(balance, in_work=working), "" if fine else "red")


def _judges(last: "LastPart") -> str:
    if last.model_id is None:
        return (
            f"nothing yet: '{last.product}' has no model" if last.product else "nothing: it collects images"
        )
    model = f"model {last.model_id[:SHORT]} by {last.runtime}"
    return f"'{last.product}', recipe version {last.recipe_version}, {model}"


def _last_line(last: "LastPart", at: datetime) -> Text:
    verdict = Text("open") if last.verdict is None else Text(last.verdict.value, _STYLES[last.verdict])
    score = "" if last.score is None else f" at a score of {last.score:.4g}"
    latency = "" if last.latency_ms is None else f" in {last.latency_ms:.0f} ms"
    reason = f" ({last.reason})" if last.reason else ""
    return Text.assemble(
        _line("last part", f"trigger {last.trigger_id}, {age(at - last.triggered_at)} ago: "),
        verdict,
        f"{score}{latency}{reason}",
    )


def _today(doing: "Activity") -> str:
    parts = ", ".join(f"{count} {verdict.value.lower()}" for verdict, count in doing.today.items())
    return parts + (f", {doing.today_open} open" if doing.today_open else "")


def age(span: timedelta) -> str:
    """Return how long ago something was, in the largest unit that says enough."""
    seconds = max(0.0, span.total_seconds())
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _line(name: str, text: str, style: str = "") -> Text:
    return Text.assemble((f"  {name:10}", "dim"), (text, style))
