"""Proofs of parity: what came of the golden frames, kept for the machine that they were judged on."""

from pathlib import Path

import structlog
from pydantic import ValidationError

from partgate.records._home import Home
from partgate.records._whole import write_whole
from partgate_engines import Fingerprint, Manifest, ParityReport

log = structlog.get_logger(__name__)


class Proofs:
    """The folder `parity` of a home: one file per model, runtime and machine; it may be deleted.

    A file that is damaged, of another version or at odds with itself counts as none: the gate is run again.
    """

    def __init__(self, home: Home) -> None:
        self._folder = home.parity_path

    def get(self, fingerprint: Fingerprint, manifest: Manifest) -> ParityReport | None:
        """Return the last report for a model, runtime and machine, None if there is none.

        Args:
            fingerprint: of model, runtime and machine.
            manifest: of the model; what a report says of its golden frames is held against it.
        """
        path = self._path(fingerprint)
        try:
            report = ParityReport.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("proof of parity cannot be read; it is made again", file=str(path), error=str(error))
            return None
        if report.fingerprint != fingerprint:
            return None
        if report.passed and not report.proves(manifest):
            log.warning("proof of parity is not what its frames say; it is made again", file=str(path))
            return None
        return report

    def put(self, report: ParityReport) -> None:
        """Keep a report, passed or not, in the place of the one before.

        Raises:
            CannotWrite: the home cannot be written.
        """
        write_whole(self._path(report.fingerprint), report.model_dump_json(indent=2).encode())

    def forget(self, fingerprint: Fingerprint) -> None:
        """Let go of a report, so that the gate is run again."""
        self._path(fingerprint).unlink(missing_ok=True)

    def _path(self, fingerprint: Fingerprint) -> Path:
        return self._folder / f"{fingerprint.digest}.json"
