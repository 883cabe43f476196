"""Real MTAs as next hops: Postfix, Exim and OpenSMTPD, each with its own home.

Each takes mail for the users of its domain (the first two over TLS alone), knows no user
"nobody", and keeps what it took in a Maildir. Debian lets one MTA be installed: Exim and OpenSMTPD are
unpacked by prepare.sh, and run in a mount namespace of their own, where their users and
directories are the ones they expect.
"""

import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.house import ACME, certificates
from tests.interop.running import run, running

UNPACKED = Path(__file__).parents[2] / ".venv" / "peers"
_USERS = ("Debian-exim", "opensmtpd", "opensmtpq", "courier")


@dataclass(frozen=True, slots=True)
class Mta:
    """A next hop: `serves` runs it at a port and yields its Maildir's `new`."""

    domain: str
    address: str
    serves: Callable[["Mta", int], AbstractAsyncContextManager[Path]]
    traces: bytes  # in its Received field, with how it came
    refuses: str  # the user "nobody", in its words


@asynccontextmanager
async def own_home(name: str) -> AsyncIterator[Path]:
    """A directory with a certificate, and a `mail` for the user nobody to write."""
    assert os.geteuid() == 0, "only root may run an MTA with users of its own"
    # Not below pytest's directory: the daemons run as other users.
    home = Path(tempfile.mkdtemp(prefix=f"soboo-{name}-"))
    home.chmod(0o755)
    (home / "mail").mkdir()
    shutil.chown(home / "mail", "nobody")
    (home / "tls").mkdir()
    _, _, key = certificates(home / "tls")
    key.chmod(0o600)
    try:
        yield home
    finally:
        shutil.rmtree(home)


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
virtual_mailbox_domains = {domain} {returns}
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = regexp:{home}/users
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_cert_file = {home}/tls/chain.pem
smtpd_tls_key_file = {home}/tls/key.pem
smtpd_tls_security_level = encrypt
smtpd_tls_received_header = yes
smtputf8_enable = yes
"""
_MASTER = """\
{address}:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
error unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@asynccontextmanager
async def _postfix(mta: Mta, port: int) -> AsyncIterator[Path]:
    async with own_home("postfix") as home:
        nobody = pwd.getpwnam("nobody")
        for name in ("queue", "data"):
            (home / name).mkdir()
        shutil.chown(home / "data", "postfix")
        facts = {"home": home, "domain": mta.domain, "address": mta.address}
        owner = {"uid": nobody.pw_uid, "gid": nobody.pw_gid}
        returns = f"bounce.{ACME}"  # its reports come into the same box
        (home / "main.cf").write_text(_MAIN.format(**facts, **owner, returns=returns))
        (home / "users").write_text("if !/^nobody@/\n/./ inbox/\nendif\n")
        (home / "master.cf").write_text(_MASTER.format(**facts, port=port))
        start = ("/usr/sbin/postfix", "-c", home, "start-fg")
        async with running(*start, log=home / "start.log"):
            try:
                yield home / "mail" / "inbox" / "new"
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
tls_certificate = {home}/tls/chain.pem
tls_privatekey = {home}/tls/key.pem
tls_advertise_hosts = *
smtputf8_advertise_hosts = *
keep_environment =
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
begin acl
mail:
  require message = say STARTTLS first
    encrypted = *
  accept
rcpt:
  deny local_parts = nobody
    message = no such user
  accept domains = {domain}
begin routers
local:
  driver = accept
  domains = {domain}
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {home}/mail/inbox
  create_directory
  maildir_format
  return_path_add
  user = nobody
  group = nogroup
"""


@asynccontextmanager
async def _exim(mta: Mta, port: int) -> AsyncIterator[Path]:
    async with own_home("exim") as home:
        (home / "spool").mkdir()
        for path in (home / "spool", home / "tls" / "key.pem"):
            shutil.chown(path, "nobody")
        facts = {"home": home, "domain": mta.domain, "address": mta.address}
        (home / "exim.conf").write_text(_EXIM.format(**facts, port=port))
        places = {UNPACKED / "exim4-daemon-light/usr": "/srv"}
        command = apart(home, places, f"/srv/sbin/exim4 -C {home}/exim.conf -bdf")
        async with running(*command, log=home / "start.log"):
            yield home / "mail" / "inbox" / "new"


# ---- OpenSMTPD, whose handshakes fail in Debian 12 (it keeps its key from OpenSSL 3):
# a peer with a broken STARTTLS, for which TLS that is opportunistic falls back to clear.

_SMTPD = """\
pki own cert "{home}/tls/chain.pem"
pki own key "{home}/tls/key.pem"
table users {{ "nobody@{domain}" = "nosuchuser", "@{domain}" = "nobody" }}
listen on {address} port {port} tls pki own hostname mx.{domain}
action "in" maildir "{home}/mail/inbox" virtual <users>
match from any for domain "{domain}" action "in"
"""


@asynccontextmanager
async def _opensmtpd(mta: Mta, port: int) -> AsyncIterator[Path]:
    unpacked = UNPACKED / "opensmtpd"
    async with own_home("opensmtpd") as home:
        for name in ("run", "spool/smtpd", "lib/opensmtpd/empty"):
            (home / name).mkdir(parents=True)
        (home / "spool" / "smtpd").chmod(0o711)
        facts = {"home": home, "domain": mta.domain, "address": mta.address}
        (home / "smtpd.conf").write_text(_SMTPD.format(**facts, port=port))
        places = {
            unpacked / "usr": "/srv",
            unpacked / "usr/libexec": "/usr/libexec",
            home / "spool": "/var/spool",
            home / "lib": "/var/lib",
            home / "run": "/run",
        }
        command = apart(home, places, f"/srv/sbin/smtpd -d -f {home}/smtpd.conf")
        async with running(*command, log=home / "start.log"):
            yield home / "mail" / "inbox" / "new"


def apart(
    home: Path,
    places: dict[Path, str],
    command: str,
    *,
    over: Mapping[str, Sequence[Path]] | None = None,
) -> tuple[str, ...]:
    """The command in a mount namespace of its own: directories laid `over` this host's,
    `places` at their paths, and the users the programs insist on beside this host's."""
    users = [f"{name}:x:{65_500 + n}:" for n, name in enumerate(_USERS)]
    accounts = "".join(f"{one}65534::/:/usr/sbin/nologin\n" for one in users)
    for name, more in (("passwd", accounts), ("group", "\n".join(users) + "\n")):
        own = home / name
        own.write_text(Path("/etc", name).read_text() + more)
        own.chmod(0o644)
        places[own] = f"/etc/{name}"
    layers = [
        f"mount -t overlay overlay -o lowerdir={':'.join(map(str, tops))}:{below} {below}"
        for below, tops in (over or {}).items()
    ]
    mounts = [f"mount --bind {here} {there}" for here, there in places.items()]
    steps = [*layers, *mounts, f"exec {command}"]
    return ("unshare", "--mount", "sh", "-ec", "\n".join(steps))


MTAS = {
    "postfix": Mta(
        "postfix.test",
        "127.0.0.6",
        _postfix,
        traces=b"(using TLSv1.",
        refuses="550 5.1.1 <nobody@postfix.test>: Recipient address rejected",
    ),
    "exim": Mta(
        "exim.test",
        "127.0.0.10",
        _exim,
        traces=b" with esmtps ",
        refuses="550 no such user",
    ),
    "opensmtpd": Mta(
        "opensmtpd.test",
        "127.0.0.11",
        _opensmtpd,
        traces=b"(OpenSMTPD) with ESMTP",
        refuses="550 Invalid recipient",
    ),
}
