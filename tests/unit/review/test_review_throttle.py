import pytest

from partgate.review._errors import SiteBusy
from partgate.review._slots import Slots
from partgate.review._throttle import Throttle


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def _throttle(clock: _Clock, **options: float) -> Throttle:
    return Throttle(free=3, longest_s=60, forget_after_s=900, keys=int(options.get("keys", 8)), clock=clock)


def _waits(throttle: Throttle, clock: _Clock, tries: int) -> list[float]:
    """Try as soon as allowed and return how long each try made the next one wait."""
    waits = []
    for _ in range(tries):
        assert throttle.admit("mara") == 0
        wait_s = throttle.admit("mara")
        waits.append(wait_s)
        clock.now_s += wait_s
    return waits


def test_waits_double_up_to_the_longest() -> None:
    clock = _Clock()
    throttle = _throttle(clock)
    assert [throttle.admit("mara") for _ in range(2)] == [0, 0]
    assert _waits(throttle, clock, 8) == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])


def test_a_try_while_waiting_does_not_count() -> None:
    clock = _Clock()
    throttle = _throttle(clock)
    for _ in range(3):
        throttle.admit("mara")
    assert [throttle.admit("mara") for _ in range(50)] == [1.0] * 50


def test_other_keys_do_not_wait() -> None:
    throttle = _throttle(_Clock())
    for _ in range(10):
        throttle.admit("mara")
    assert throttle.admit("ines") == 0


def test_the_right_password_ends_the_wait() -> None:
    throttle = _throttle(_Clock())
    for _ in range(3):
        throttle.admit("mara")
    throttle.forgive("mara")
    assert throttle.admit("mara") == 0


def test_taking_back_uncounts_one_try_only() -> None:
    throttle = _throttle(_Clock())
    for _ in range(3):
        throttle.admit("10.0.0.7")
    throttle.take_back("10.0.0.7")
    assert throttle.admit("10.0.0.7") == 0
    assert throttle.admit("10.0.0.7") > 0


def test_tries_are_forgotten_after_a_while() -> None:
    clock = _Clock()
    throttle = _throttle(clock)
    _waits(throttle, clock, 6)
    clock.now_s += 901
    assert [throttle.admit("mara") for _ in range(3)] == [0, 0, 0]


def test_memory_is_bounded_and_the_longest_ago_goes_first() -> None:
    throttle = _throttle(_Clock(), keys=8)
    for number in range(1000):
        throttle.admit(f"name{number}")
    assert len(throttle._tries) == 8
    assert "name999" in throttle._tries


def test_a_slot_is_given_back_and_a_full_house_is_said() -> None:
    slots = Slots(name="pictures", count=1, timeout_s=0.01)
    with slots.one(), pytest.raises(SiteBusy, match="pictures"), slots.one():
        pass
    with slots.one():
        pass
