"""How long a camera's process is waited for."""

from dataclasses import dataclass, field

from partgate_cameras._respawn import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for what, and how fast to start a lost process again."""

    open_s: float = 15.0
    """For a camera to open, or to say why it does not. A GigE camera is searched for for seconds."""

    answer_s: float = 0.05
    """Beyond a grab's own time, for the answer on its way; then `grab` raises."""

    hang_s: float = 0.5
    """Beyond a grab's own time; then the process hangs and is killed."""

    turn_s: float = 0.25
    """Between two looks at a process that says nothing; it beats twice as often."""

    doubt_turns: int = 2
    """So many looks in a row without a beat, and an idle process is doubted: the station is not ready until
    the next beat. Nothing is killed for it, so that a loaded machine costs no camera."""

    silent_turns: int = 8
    """So many looks in a row without a beat, and an idle process is killed. Counted, not timed: a
    station that was itself stopped must not blame its cameras."""

    misses: int = 3
    """So many triggers in a row without a whole frame, and the camera is opened anew: a GenTL producer
    does not say that a cable was pulled (harvesters issues 272 and 375)."""

    incomplete_s: float = 5.0
    """For so long only incomplete frames of a camera that gives them by itself, at least `misses` of them,
    and it is opened anew. Not after three in a row: each of them shows that the camera lives."""

    close_s: float = 2.0
    """For a camera to close before its process is killed."""

    retry_every_s: float = 1.0
    """Between two attempts of one new process to open a camera that was lost."""

    retry_for_s: float = 60.0
    """For one new process to try; then it is the next one's turn: some producers see no device any more
    until their process is a new one (harvesters issues 202 and 371)."""

    pace: Pace = field(default_factory=Pace)

    @property
    def beat_every_s(self) -> float:
        """Between two beats of a process."""
        return self.turn_s / 2

    @property
    def doubted_within_s(self) -> float:
        """After its last beat at the longest, until an idle process is doubted."""
        return self.turn_s * self.doubt_turns

    @property
    def lost_within_s(self) -> float:
        """Beyond a part's deadline at the longest, until a process that hangs is given up.

        A wait in which the request came ends within `turn_s`, the others end when the request is overdue.
        """
        return max(self.hang_s, self.turn_s)
