"""A data directory that is a disk of its own, small enough to be filled. Needs root."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from soboo_mta.cli.trial.world import World


@contextmanager
def small_disk(data: Path, space: str = "48m") -> Iterator[Callable[[World], None]]:
    """Yield what mounts it on `data`, once that exists; it is gone at the end."""
    assert os.geteuid() == 0, "only root may mount a small disk"

    def mount(_: World) -> None:
        command = ("mount", "-t", "tmpfs", "-o", f"size={space}", "none", str(data))
        subprocess.run(command, check=True)

    try:
        yield mount
    finally:
        subprocess.run(("umount", "--lazy", str(data)), check=True)


def fill(file: Path) -> None:
    """Take all the space that is left."""
    with file.open("ab", buffering=0) as out:
        try:
            while out.write(bytes(4_096)):
                pass
        except OSError:
            return
