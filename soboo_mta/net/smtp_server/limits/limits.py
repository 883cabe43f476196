"""All limits on clients of one process; one object, for its doors may be several."""

import time
from collections.abc import Callable

from soboo_mta.net.smtp_server.limits.admission import Admission
from soboo_mta.net.smtp_server.limits.logins import FailedLogins
from soboo_mta.net.smtp_server.limits.neighbours import Neighbours
from soboo_mta.net.smtp_server.limits.rates import Rates
from soboo_mta.net.smtp_server.limits.times import SharedTimes
from soboo_mta.submission.options import ListenerOptions


class Limits:
    """A client is counted once over all doors that share this; `times` and
    `neighbours` are what the workers of this host share."""

    def __init__(
        self,
        options: ListenerOptions,
        times: SharedTimes | None = None,
        neighbours: Neighbours | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        times = times or SharedTimes()
        self.rates = Rates(options, times, clock)
        self.admission = Admission(options, self.rates, neighbours or Neighbours())
        self.failed_logins = FailedLogins(options, times, clock)
