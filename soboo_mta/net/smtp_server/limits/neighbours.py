"""How many connections each of the processes has that share the listeners, so that a
client goes to the least busy of them."""

import mmap

_COUNT_OCTETS = 8  # written and read in one piece


class Neighbours:
    """One page of memory, made before the fork, a place for each process. It only serves
    to share evenly: a number that is out of date costs a client milliseconds."""

    def __init__(self, processes: int = 1) -> None:
        octets = mmap.mmap(-1, processes * _COUNT_OCTETS)
        self._counts = memoryview(octets).cast("Q")
        self._place = 0

    def take_place(self, place: int) -> None:
        """Say, after the fork, which of them this process is, counted from 0."""
        self._place = place
        self.note(0)

    def note(self, connections: int) -> None:
        """Tell the others how many this process has."""
        self._counts[self._place] = connections

    def fewest(self) -> int | None:
        """What the least busy of the others has; None where there are no others."""
        others = self._counts.tolist()
        del others[self._place]
        return min(others, default=None)
