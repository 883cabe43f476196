"""Runs the relay so that it kills itself: `die.py POINT COUNT WHO MARKER …`.

The relay's code has no hooks: the points are put around its functions here. The kill is
SIGKILL, at the COUNT-th time that a process reaches the point; WHO is "one" (that
process) or "all" (its whole group, supervisor included). MARKER is written just before,
so that a round can show that its point was hit; once it is there nobody kills again. The
rest of the arguments go to soboo-mta.
"""

import asyncio
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.chaos.points import POINTS, Point


class Death:
    """Counts how often the point was reached in this process, and kills in time."""

    def __init__(self, point: Point, name: str, count: int, who: str, marker: Path):
        self._point = point
        self._name = name
        self._left = count
        self._who = who
        self._marker = marker

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method with the point before or after it."""
        point = self._point
        if inspect.iscoroutinefunction(method):

            @functools.wraps(method)
            async def run(*args: Any, **words: Any) -> Any:
                if point.before and self._is_due(args):
                    await self._written(args)
                    self._kill()
                result = await method(*args, **words)
                if not point.before and self._is_due(args):
                    await self._written(args)
                    self._kill()
                return result

            return run

        @functools.wraps(method)
        def run_here(*args: Any, **words: Any) -> Any:
            result = method(*args, **words)
            if self._is_due(args):
                self._kill()
            return result

        return run_here

    def _is_due(self, args: tuple[Any, ...]) -> bool:
        if not self._point.counts(args):
            return False
        self._left -= 1
        return self._left == 0 and not self._marker.exists()

    async def _written(self, args: tuple[Any, ...]) -> None:
        """Wait until what was said is the kernel's: it writes after the loop's turn."""
        if self._point.written is not None:
            transport = self._point.written(args)
            while transport is not None and transport.get_write_buffer_size():
                await asyncio.sleep(0)

    def _kill(self) -> None:
        fresh = self._marker.with_suffix(f".{os.getpid()}")
        fresh.write_text(self._name)
        fresh.rename(self._marker)
        if self._who == "all":
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    name, count, who, marker = sys.argv[1:5]
    sys.argv[1:] = sys.argv[5:]
    os.setsid()  # a group of its own: "all" means the relay's processes
    point = POINTS[name]
    death = Death(point, name, int(count), who, Path(marker))
    setattr(point.owner, point.method, death.around(getattr(point.owner, point.method)))
    from soboo_mta.__main__ import main

    main()
