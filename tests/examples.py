"""How many examples a property is tried with: the same ones at each `make test`, so that
a change is not blamed for an old hole; random ones, and many, under `make fuzz`."""

import os

from hypothesis import settings

TIMES = int(os.environ.get("SOBOO_FUZZ", "1"))
_DEFAULT = 100

settings.register_profile("check", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=_DEFAULT * TIMES, deadline=None)
settings.load_profile("fuzz" if TIMES > 1 else "check")


def examples(number: int) -> settings:
    """For a property that wants another number of examples than a hundred."""
    return settings(max_examples=number * TIMES)
