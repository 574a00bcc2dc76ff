"""A camera's own count of its frames, and what a step in it means."""

LAST = 0xFFFF
WRAP_FROM, WRAP_TO = 65_000, 500  # GigE Vision counts frames in 16 bit, from 65,535 to 1
OUT_OF_TURN = 64  # a step back that is shorter is a frame out of its turn, a longer one a count begun anew


class NumberNotRisen(ValueError):
    """A number is that of an earlier frame: it comes twice, or out of its turn."""


class FrameNumbers:
    """Follows the numbers of one camera, from its opening on."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._unnumbered = 0
        self._is_paused = False

    def follow(self, number: int | None) -> int:
        """Return how many frames were lost before this one.

        Args:
            number: as the camera gave it; None where it does not count: then nothing is known.

        Raises:
            NumberNotRisen: it did not. A frame out of its turn was counted as lost when the one after
                it came, and is not counted again.
        """
        last, was_paused, self._is_paused = self._last, self._is_paused, False
        if number is None or last is None or (was_paused and number != last):
            self._last, self._unnumbered = number, 0
            return 0
        step = _step(last, number)
        if step > 0 or step <= -OUT_OF_TURN:
            self._last = number
        if step <= 0:
            raise NumberNotRisen(f"frame id went {last}→{number}")
        unnumbered, self._unnumbered = self._unnumbered, 0
        return max(0, step - 1 - unnumbered)

    def arrived_unnumbered(self) -> None:
        """Note a frame that came without its number: the gap that the next one shows is not a loss."""
        self._unnumbered += 1

    def skip_to(self, number: int | None) -> None:
        """Note frames that were dropped on purpose, the last one's number; None where there is none."""
        if number is not None:
            self._last, self._unnumbered = number, 0

    def pause(self) -> None:
        """Let any number follow but the last one again: what came meanwhile was nobody's."""
        self._is_paused = True

    def restart(self) -> None:
        """Forget: the camera counts anew."""
        self._last, self._unnumbered, self._is_paused = None, 0, False


def _step(last: int, number: int) -> int:
    if last >= WRAP_FROM and number <= WRAP_TO:
        return max(1, number + LAST - last)  # some count 0, too
    if last <= WRAP_TO and WRAP_FROM <= number <= LAST:
        return number - LAST - last
    return number - last
