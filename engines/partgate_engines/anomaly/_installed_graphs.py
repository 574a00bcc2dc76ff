"""Graphs that came with the installation: the first product of a home is then learned in seconds.

An export imports torch and anomalib, which takes longer than learning 20 images. So the graph of the usual
settings is exported once, while partgate is installed:

    python -m partgate_engines.anomaly._installed_graphs
"""

import hashlib
import logging
import shutil
import sys
from functools import cache
from pathlib import Path

from partgate_station import PartgateError

_log = logging.getLogger(__name__)

_PLACE = Path(sys.prefix) / "share" / "partgate" / "graphs"


@cache
def installed_graphs() -> Path:
    """Return the folder of the graphs that this very code has exported; it may not be there.

    Named by the code, so that whoever changes what is exported gets nothing that was exported before.
    """
    return _PLACE / _digest(Path(__file__).parent)[:16]


def _digest(code: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(code.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def install() -> int:
    """Export the graph of the usual settings; return the exit code."""
    from partgate_engines.anomaly._graphs import graph_for
    from partgate_engines.anomaly._settings import LearnSettings
    from partgate_engines.anomaly._weights import find_weights

    shutil.rmtree(_PLACE, ignore_errors=True)
    settings = LearnSettings()
    try:
        graph_for(settings, find_weights(settings.backbone, None), installed_graphs())
    except PartgateError as error:
        _log.warning("no graph is installed (%s); the first product takes longer to learn", error)
    return 0


if __name__ == "__main__":
    sys.exit(install())
