"""Runs the relay with SQLite's `synchronous` lowered: `lowered.py NORMAL …`.

From outside: no setting of the relay can do it. The sync test must fail on what it runs.
"""

import sys

from soboo_mta.__main__ import main
from soboo_mta.store import engine

if __name__ == "__main__":
    level = sys.argv.pop(1)
    lowered = tuple(
        f"synchronous={level}" if pragma.startswith("synchronous=") else pragma
        for pragma in engine._PRAGMAS
    )
    assert lowered != engine._PRAGMAS
    engine._PRAGMAS = lowered
    main()
