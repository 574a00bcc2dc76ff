"""The shared memory that frames cross processes in."""

import os

import numpy as np
import pytest

from partgate_cameras import CameraError, FrameOutOfOrder
from partgate_cameras._ring import SLOTS, Image, Place, RingReader, RingWriter


def picture(level: int, *shape: int) -> Image:
    return np.random.default_rng(level).integers(0, 256, shape or (30, 40), np.uint8)


def pair(slot_bytes: int = 1200) -> tuple[RingWriter, RingReader]:
    writer = RingWriter(slot_bytes)
    return writer, RingReader(os.dup(writer.descriptor))


@pytest.mark.parametrize("shape", [(1, 1), (30, 40), (7, 11, 3)])
def test_a_frame_arrives_as_it_was_written(shape: tuple[int, ...]) -> None:
    writer, reader = pair()
    image = picture(1, *shape)
    read = reader.read(writer.write(image, sequence=1, released=0))
    np.testing.assert_array_equal(read, image)
    writer.close()


def test_what_was_read_stays_what_it_is() -> None:
    writer, reader = pair()
    first = reader.read(writer.write(picture(1), sequence=1, released=0))
    for sequence in range(2, 10):
        writer.write(picture(sequence), sequence=sequence, released=sequence - 1)
    np.testing.assert_array_equal(first, picture(1))
    writer.close()


def test_a_slot_is_written_again_only_when_it_was_given_back() -> None:
    writer, reader = pair()
    places = [writer.write(picture(n), sequence=n, released=0) for n in range(1, SLOTS + 1)]
    assert len({place.slot for place in places}) == SLOTS
    with pytest.raises(CameraError, match="all 3 slots hold frames that nobody has taken"):
        writer.write(picture(9), sequence=9, released=0)
    again = writer.write(picture(9), sequence=9, released=1)
    assert again.slot == places[0].slot
    np.testing.assert_array_equal(reader.read(places[1]), picture(2))
    writer.close()


def test_the_newest_frame_is_kept_although_it_was_given_back() -> None:
    writer, _ = pair()
    kept = [writer.newest]
    for sequence in range(1, 8):
        writer.write(picture(sequence), sequence=sequence, released=sequence)
        kept.append(None if writer.newest is None else writer.newest.copy())
    assert kept[0] is None
    for sequence in range(1, 8):
        np.testing.assert_array_equal(kept[sequence], picture(sequence))
    writer.close()


def test_a_slot_that_was_written_again_is_refused() -> None:
    writer, reader = pair()
    lost = writer.write(picture(1), sequence=1, released=0)
    writer.write(picture(2), sequence=2, released=1)
    writer.write(picture(3), sequence=3, released=2)
    with pytest.raises(FrameOutOfOrder, match="slot of frame 1 holds 3"):
        reader.read(lost)
    writer.close()


def test_a_slot_that_is_being_written_is_refused() -> None:
    writer, reader = pair()
    place = writer.write(picture(1), sequence=1, released=0)
    writer._memory[place.slot * writer._stride] = 2  # the first of a writer's three steps
    with pytest.raises(FrameOutOfOrder):
        reader.read(place)
    writer.close()


@pytest.mark.parametrize(
    "place",
    [
        Place(sequence=1, slot=-1, shape=(2, 2)),
        Place(sequence=1, slot=SLOTS, shape=(2, 2)),
        Place(sequence=1, slot=0, shape=(1 << 20, 1 << 20)),
        Place(sequence=1, slot=0, shape=(0, 5)),
    ],
    ids=["before", "behind", "too large", "empty"],
)
def test_a_place_outside_the_ring_is_refused(place: Place) -> None:
    writer, reader = pair()
    with pytest.raises(CameraError, match="no place in the ring"):
        reader.read(place)
    writer.close()


def test_the_reader_cannot_write_and_the_writer_cannot_shrink() -> None:
    writer, reader = pair()
    with pytest.raises(TypeError):
        reader._memory[0] = 1
    with pytest.raises(PermissionError):
        os.ftruncate(writer.descriptor, 0)
    writer.close()


def test_memory_that_could_shrink_is_refused() -> None:
    descriptor = os.memfd_create("unsealed")
    os.ftruncate(descriptor, SLOTS * 4096)
    with pytest.raises(CameraError, match="sealed: False, are no ring"):
        RingReader(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_reader_outlives_its_writer() -> None:
    writer, reader = pair()
    place = writer.write(picture(5), sequence=5, released=0)
    writer.close()
    del writer
    np.testing.assert_array_equal(reader.read(place), picture(5))


def test_room_is_whole_pages_and_said() -> None:
    writer = RingWriter(100)
    assert writer.fits(np.zeros((1, 100), np.uint8))
    assert writer.fits(np.zeros((1, writer.slot_bytes), np.uint8))
    assert not writer.fits(np.zeros((1, writer.slot_bytes + 1), np.uint8))
    writer.close()
