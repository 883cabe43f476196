"""Real MTAs that take everything for their domain, and bounce what they can't pass on.

Postfix, Exim, OpenSMTPD, Sendmail and Courier, each with its own home. Each accepts before
it looks, hands on to the sinks, and sends its reports to the return listener; all by
routes on loopback, so that no MX is asked for. Each warns after two seconds and gives up
after twenty, where Debian's settings have hours and days.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

from tests.interop.house import ACME
from tests.interop.next_hops import UNPACKED, apart, own_home
from tests.interop.running import run, running

BOUNCES = f"bounce.{ACME}"
WARNS, GIVES_UP = "2s", "20s"
Nudge = Callable[[], Awaitable[None]]  # has the MTA try all that waits, now


@dataclass(frozen=True, slots=True)
class Ways:
    """Where mail goes: one port everywhere; addresses of the sink that answers, of the
    one that is silent, and of the return listener."""

    port: int
    answering: str
    silent: str
    returns: str

    def routes(self, host: "Bouncing") -> dict[str, str]:
        """Addresses by domain."""
        return {
            host.domain: self.answering,
            host.silent_domain: self.silent,
            BOUNCES: self.returns,
        }


@dataclass(frozen=True, slots=True)
class Bouncing:
    """An MTA: `serves` runs it at the address, and yields a nudge."""

    name: str
    address: str
    serves: Callable[["Bouncing", Ways], AbstractAsyncContextManager[Nudge]]

    @property
    def domain(self) -> str:
        return f"{self.name}.test"

    @property
    def silent_domain(self) -> str:
        """Taken as well, and routed to a host that says nothing."""
        return f"silent-{self.name}.test"

    def facts(self, home: Path, ways: Ways) -> dict[str, object]:
        """What the settings below have in braces."""
        return {
            "home": home,
            "address": self.address,
            "port": ways.port,
            "domain": self.domain,
            "silent": self.silent_domain,
            "warns": WARNS,
            "gives_up": GIVES_UP,
        }


async def _by_itself() -> None:
    """Its own queue runs are frequent enough."""


def _inside(process: asyncio.subprocess.Process) -> tuple[str, ...]:
    """What runs a command where the process has its mounts."""
    return ("nsenter", "--mount", "--target", str(process.pid))


# ---- Postfix

_MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
inet_interfaces = all
inet_protocols = ipv4
myhostname = mx.{domain}
mydestination =
mynetworks =
alias_maps =
relay_domains = {domain} {silent}
transport_maps = inline:{{ {routes} }}
smtp_rcpt_timeout = 2s
smtp_bind_address = 127.0.0.1
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
delay_warning_time = {warns}
maximal_queue_lifetime = {gives_up}
"""
_MASTER = """\
{address}:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
smtp unix - - n - - smtp
relay unix - - n - - smtp
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@asynccontextmanager
async def _postfix(host: Bouncing, ways: Ways) -> AsyncIterator[Nudge]:
    async with own_home("postfix") as home:
        for name in ("queue", "data"):
            (home / name).mkdir()
        shutil.chown(home / "data", "postfix")
        routes = ", ".join(
            f"{{ {domain} = smtp:[{address}]:{ways.port} }}"
            for domain, address in ways.routes(host).items()
        )
        facts = host.facts(home, ways)
        (home / "main.cf").write_text(_MAIN.format(**facts, routes=routes))
        (home / "master.cf").write_text(_MASTER.format(**facts))
        start = ("/usr/sbin/postfix", "-c", home, "start-fg")
        async with running(*start, log=home / "start.log"):
            try:
                yield _by_itself
            finally:  # start-fg is a script: a signal to it would leave the master
                await run("/usr/sbin/postfix", "-c", home, "stop")


# ---- Exim

_EXIM = """\
exim_path = /srv/sbin/exim4
exim_user = nobody
exim_group = nogroup
spool_directory = {home}/spool
log_file_path = {home}/spool/%slog
pid_file_path = {home}/spool/pid
primary_hostname = mx.{domain}
local_interfaces = {address}
daemon_smtp_ports = {port}
keep_environment =
delay_warning = {warns}:1d
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept domains = {domain} : {silent}
begin routers
{routes}
begin transports
smtp:
  driver = smtp
  port = {port}
  allow_localhost
  command_timeout = 2s
begin retry
* * F,{gives_up},1s
"""
_ROUTE = """\
to_{number}:
  driver = manualroute
  domains = {domain}
  route_list = * {address}
  self = send
  transport = smtp
"""


@asynccontextmanager
async def _exim(host: Bouncing, ways: Ways) -> AsyncIterator[Nudge]:
    async with own_home("exim") as home:
        (home / "spool").mkdir()
        shutil.chown(home / "spool", "nobody")
        routes = "".join(
            _ROUTE.format(number=number, domain=domain, address=address)
            for number, (domain, address) in enumerate(ways.routes(host).items())
        )
        settings = _EXIM.format(**host.facts(home, ways), routes=routes)
        (home / "exim.conf").write_text(settings)
        places = {UNPACKED / "exim4-daemon-light/usr": "/srv"}
        # -q1s: a queue run each second
        command = apart(home, places, f"/srv/sbin/exim4 -C {home}/exim.conf -bdf -q1s")
        async with running(*command, log=home / "start.log"):
            yield _by_itself


# ---- OpenSMTPD, which waits for minutes before it tries again, and cannot be told less:
# it is nudged, as its operator would.

_SMTPD = """\
queue ttl {gives_up}
bounce warn-interval {warns}
listen on {address} port {port} hostname mx.{domain}
"""
_ACTION = """\
action "to {domain}" relay host "smtp://{address}:{port}" helo mx.opensmtpd.test
match from any for domain "{domain}" action "to {domain}"
"""


@asynccontextmanager
async def _opensmtpd(host: Bouncing, ways: Ways) -> AsyncIterator[Nudge]:
    unpacked = UNPACKED / "opensmtpd"
    async with own_home("opensmtpd") as home:
        for name in ("run", "spool/smtpd", "lib/opensmtpd/empty"):
            (home / name).mkdir(parents=True)
        (home / "spool" / "smtpd").chmod(0o711)
        actions = "".join(
            _ACTION.format(domain=domain, address=address, port=ways.port)
            for domain, address in ways.routes(host).items()
        )
        settings = _SMTPD.format(**host.facts(home, ways)) + actions
        (home / "smtpd.conf").write_text(settings)
        places = {
            unpacked / "usr": "/srv",
            unpacked / "usr/libexec": "/usr/libexec",
            home / "spool": "/var/spool",
            home / "lib": "/var/lib",
            home / "run": "/run",
        }
        command = apart(home, places, f"/srv/sbin/smtpd -d -f {home}/smtpd.conf")
        async with running(*command, log=home / "start.log") as process:

            async def nudge() -> None:
                as_its_group = ("setpriv", "--egid", "opensmtpq", "--keep-groups")
                control = (*as_its_group, "/srv/sbin/smtpctl", "schedule", "all")
                ended = await run(*_inside(process), *control)
                assert ended.code == 0, ended.text

            yield nudge


# ---- Sendmail

_MC = """\
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `mx.{domain}')dnl
define(`confPID_FILE', `{home}/pid')dnl
define(`QUEUE_DIR', `{home}/queue')dnl
define(`STATUS_FILE', `{home}/statistics')dnl
define(`ALIAS_FILE', `hash: -o {home}/none')dnl
define(`confDONT_BLAME_SENDMAIL', `MapInUnsafeDirPath')dnl
define(`confCW_FILE', `-o {home}/none')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confTO_RCPT', `2s')dnl
define(`confTO_QUEUEWARN', `{warns}')dnl
define(`confTO_QUEUERETURN', `{gives_up}')dnl
define(`confTO_HOSTSTATUS', `1s')dnl
define(`SMTP_MAILER_ARGS', `TCP $h {port}')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`mailertable', `text -k0 -v1 {home}/mailertable')dnl
RELAY_DOMAIN(`{domain} {silent}')dnl
DAEMON_OPTIONS(`Name=MTA, Addr={address}, Port={port}')dnl
MAILER(`smtp')dnl
"""


@asynccontextmanager
async def _sendmail(host: Bouncing, ways: Ways) -> AsyncIterator[Nudge]:
    macros = UNPACKED / "sendmail-cf/usr/share/sendmail/cf"
    async with own_home("sendmail") as home:
        (home / "queue").mkdir(mode=0o700)
        routes = ways.routes(host).items()
        table = "".join(f"{domain} smtp:[{address}]\n" for domain, address in routes)
        (home / "mailertable").write_text(table)
        (home / "sendmail.mc").write_text(_MC.format(**host.facts(home, ways)))
        m4 = ("m4", f"-D_CF_DIR_={macros}/", macros / "m4/cf.m4", home / "sendmail.mc")
        made = await run(*m4)
        assert made.code == 0, made.text
        (home / "sendmail.cf").write_text(made.out)
        # -q1s: a queue run each second
        start = f"/usr/libexec/sendmail/sendmail -C{home}/sendmail.cf -bD -q1s"
        # It waits a minute for a name of its own that has a dot.
        (home / "hosts").write_text(f"127.0.0.1 mx.{host.domain} {gethostname()}\n")
        places = {home / "hosts": "/etc/hosts"}
        over = {"/usr": [UNPACKED / "sendmail-bin/usr"]}
        command = apart(home, places, start, over=over)
        async with running(*command, log=home / "start.log"):
            yield _by_itself


# ---- Courier

_COURIER = {
    "me": "mx.{domain}",
    "defaultdomain": "{domain}",
    "locals": "localhost",
    "esmtpacceptmailfor": "{domain}\n{silent}",
    "queuetime": "{gives_up}",
    "warntime": "{warns}",
    "retryalpha": "1",
    "retrybeta": "1",
    "retrygamma": "1",
    "retrymaxdelta": "0",
    "esmtpdelay": "0",
    "esmtptimeout": "2",
    "esmtptimeoutkeepalive": "0",
}
_COURIER_STARTS = """\
chown -R courier:courier /etc/courier /var/lib/courier /run/courier
/usr/sbin/makealiases
set -a
. /etc/courier/courierd
ESMTP_BLOCKBACKSCATTER=
/usr/lib/courier/courier/courierd &
. /etc/courier/esmtpd
BOFHCHECKDNS=0
COURIERTLS=
exec /usr/sbin/couriertcpd -nodnslookup -noidentlookup -user=courier -group=courier \\
  -address={address} -maxprocs=40 -maxperc=40 -maxperip=40 {port} \\
  /usr/sbin/courieresmtpd
"""
_PARTS = (
    "courier-mta",
    "courier-base",
    "courier-authlib",
    "libcourier-unicode4",
)


@asynccontextmanager
async def _courier(host: Bouncing, ways: Ways) -> AsyncIterator[Nudge]:
    async with own_home("courier") as home:
        facts = host.facts(home, ways)
        etc = home / "etc" / "courier"
        shutil.copytree(UNPACKED / "courier-mta/etc/courier", etc)
        for name, text in _COURIER.items():
            (etc / name).write_text(text.format(**facts) + "\n")
        routes = [f"{d}:[{a}],{ways.port}" for d, a in ways.routes(host).items()]
        (etc / "esmtproutes").write_text("\n".join(routes) + "\n")
        lib = home / "lib" / "courier"
        shutil.copytree(UNPACKED / "courier-mta/var/lib/courier", lib)
        (home / "run" / "courier").mkdir(parents=True)
        (home / "start").write_text(_COURIER_STARTS.format(**facts))
        places = {etc: "/etc/courier", home / "lib": "/var/lib", home / "run": "/run"}
        over = {
            "/usr": [UNPACKED / part / "usr" for part in _PARTS],
            "/etc": [home / "etc"],
        }
        command = apart(home, places, f"sh -e {home}/start", over=over)
        async with running(*command, log=home / "start.log") as process:
            try:
                yield _by_itself
            finally:  # the queue's daemon is another process
                await run(*_inside(process), "/usr/sbin/courier", "stop")


HOSTS = (
    Bouncing("postfix", "127.0.0.6", _postfix),
    Bouncing("exim", "127.0.0.10", _exim),
    Bouncing("opensmtpd", "127.0.0.11", _opensmtpd),
    Bouncing("sendmail", "127.0.0.13", _sendmail),
    Bouncing("courier", "127.0.0.14", _courier),
)
