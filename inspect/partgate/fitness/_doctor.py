"""What this machine can do, and what of it is unfit for a station."""

from collections.abc import Callable, Iterable
from itertools import chain

from partgate.fitness import _clock, _disk, _home, _processor, _producers, _runtimes
from partgate.fitness._check import Check, Look, looked_within
from partgate.records import Home

LIMIT_S = 20.0
PRODUCERS_LIMIT_S = 120.0  # each has a time limit of its own


def examine(home: Home, *, on_look: Callable[[str], None] = lambda name: None) -> tuple[Check, ...]:
    """Look at everything a station needs of a machine; nothing is changed, and nothing raises.

    Args:
        home: it need not be there, and is not made.
        on_look: told what is looked at next.
    """
    ground = _home.ground(home)
    looks: tuple[tuple[str, Look, float], ...] = (
        ("runtime", _runtimes.runtimes, LIMIT_S),
        ("openvino", _runtimes.openvino, LIMIT_S),
        ("gpu", _runtimes.gpu, LIMIT_S),
        ("processor", _processor.processor, LIMIT_S),
        ("cores", _processor.cores, LIMIT_S),
        ("cpu governor", _processor.governor, LIMIT_S),
        ("memory", _processor.memory, LIMIT_S),
        ("clock", _clock.clock, LIMIT_S),
        ("home", lambda: _home.folder(home), LIMIT_S),
        ("stations", lambda: _home.stations(home), LIMIT_S),
        ("trusted signers", lambda: _home.keys(home), LIMIT_S),
        ("sqlite", _home.sqlite, LIMIT_S),
        ("disk kind", lambda: _disk.kind(ground), LIMIT_S),
        ("disk space", lambda: _disk.room(home), LIMIT_S),
        ("disk sync", lambda: _disk.syncs(ground), LIMIT_S),
        ("open files", _home.open_files, LIMIT_S),
        ("learning", _runtimes.learning, LIMIT_S),
        ("gentl producers", lambda: _see_producers(home), PRODUCERS_LIMIT_S),
    )

    def look(name: str, act: Look, limit_s: float) -> Iterable[Check]:
        on_look(name)
        return looked_within(limit_s, name, act)

    return tuple(chain.from_iterable(look(*each) for each in looks))


def _see_producers(home: Home) -> Iterable[Check]:
    return _producers.producers(streaming=bool(_home.running(home)))
