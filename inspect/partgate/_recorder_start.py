"""The recorder's process, started before there is anything to tell it.

It imports what it needs (SQLModel alone is a second) while the line still imports its own, on the other core.
This module therefore lies outside `records`, whose import is what it does not wait for.
"""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator

# -P: a file of the working directory must not stand in for a module.
COMMAND = (sys.executable, "-P", "-c")
PROGRAM = """\
import json, sys
path, descriptor = json.loads(sys.argv[1])
sys.path[:] = path
from partgate._imports import uncollected
with uncollected():
    from partgate.records._recorder_child import main
main(descriptor)
"""
STDERR = 2
KILL_WAIT_S = 5.0


class StartedProcess:
    """A process that waits to be told for which station it records.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self) -> None:
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module by our own interpreter
                [*COMMAND, PROGRAM, json.dumps([sys.path, theirs.fileno()])],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=STDERR,  # standard output is the program's
                process_group=0,  # a terminal's Ctrl-C goes to the line alone
            )
        self.connection.settimeout(0)  # never wait for a process that may be stopped
        self.pid = self._process.pid

    def end(self, grace_s: float = 0.0) -> int | None:
        """Wait for the process to end by itself, then kill it; return its exit code. May be called again."""
        self.connection.close()
        code = self.exit_code(grace_s)
        if code is None:
            self._process.kill()
            code = self.exit_code(KILL_WAIT_S)
        return code

    def exit_code(self, timeout_s: float) -> int | None:
        """Return the exit code, waiting for it; None if it lives still."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


@contextlib.contextmanager
def recorder_started() -> Iterator[StartedProcess | None]:
    """Start a recorder's process, to be ended at the latest here; None where none can be started.

    The recorder then tries again by itself, and says in the log why it cannot.
    """
    try:
        process = StartedProcess()
    except OSError:
        yield None
        return
    try:
        yield process
    finally:
        process.end()
