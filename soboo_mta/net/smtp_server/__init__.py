"""The listeners: aiosmtpd's protocol made strict, bounded and fast.

`server` opens and closes it, `session` carries one connection, `limits` bounds them all,
`protocol` and `arguments` read what clients send.
"""

from soboo_mta.net.smtp_server.limits.limits import Limits
from soboo_mta.net.smtp_server.limits.neighbours import Neighbours
from soboo_mta.net.smtp_server.limits.times import SharedTimes
from soboo_mta.net.smtp_server.listener import Listener
from soboo_mta.net.smtp_server.server import ReturnServer, SubmissionServer

__all__ = [
    "Limits",
    "Listener",
    "Neighbours",
    "ReturnServer",
    "SharedTimes",
    "SubmissionServer",
]
