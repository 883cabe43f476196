"""The submission listener: aiosmtpd's protocol made strict, bounded and fast.

`server` opens and closes it, `session` carries one connection, `login` and `commands`
obey it, `arguments` and `body` read what clients send, `admission` counts them.
"""

from soboo_mta.net.smtp_server.server import Listener, SubmissionServer, bind

__all__ = ["Listener", "SubmissionServer", "bind"]
