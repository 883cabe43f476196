"""A relay in a folder of its own, set up through the doors that a user has."""

import json
import shutil
import smtplib
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from soboo_mta.cli.trial.settings import OPERATOR, loopback_settings
from soboo_mta.testing.dns import Zones
from soboo_mta.testing.running.lab import SobooLab
from soboo_mta.testing.running.processes import Commands, Process, SobooError

_USER = "suite"
_TRIES = 3  # another process may take the port between finding and binding it
_STARTS_WITHIN = 60.0  # seconds: a cold disk on a busy CI host
_ENDS_WITHIN = 30.0  # seconds for attempts under way at a test's end
_FOLLOWS_WITHIN = 0.3  # seconds: the relay promises 250 ms and tells nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A recipient that the relay has not settled, and why, in the relay's own words."""

    message: str
    recipient: str
    state: str
    reason: str
    explanation: str
    attempts: int


class SobooRelay:
    """The running relay: submit to `host` and `port` as `user` with `secret`."""

    def __init__(
        self, directory: Path, lab: SobooLab, zones: Zones, *, settings: str = ""
    ) -> None:
        """Make the folder and begin to load; `settings` are more lines of the file."""
        self.host = "127.0.0.1"
        self.port = 0
        self.user = _USER
        self.secret = ""
        self.domains: list[str] = []
        self._directory = directory
        self._lab = lab
        self._zones = zones
        self._settings = settings
        (directory / "data").mkdir(parents=True, mode=0o700)
        self._config = directory / "soboo.toml"
        self._commands = Commands(self._config, directory / "commands.log")
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """smtp://user:secret@host:port, as many libraries take it."""
        return (
            f"smtp://{self.user}:{quote(self.secret, safe='')}@{self.host}:{self.port}"
        )

    @property
    def log(self) -> str:
        """What the relay logged so far: JSON lines."""
        file = self._directory / "relay.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def prepare(self, domains: Iterable[str]) -> None:
        """Make the key, the tenant, its credential and domains; needs no lab yet."""
        self._write_config(port=2525, dns=53, smtp=25)
        self._commands.run("secret", "generate")
        self._apply(domains)

    def start(self) -> None:
        """Publish, verify and serve; the lab has to be there."""
        self._publish(OPERATOR, "--operator")
        for domain in self.domains:
            self._publish(domain, domain)
        for _ in range(_TRIES):
            if self._serve():
                break
        else:
            raise self._failure("cannot start")
        self.verify(*self.domains)

    def end(self) -> None:
        """Tell it to end; `stop` waits for it."""
        if self._process is not None:
            self._process.end()
        self._commands.end()

    def stop(self) -> None:
        """End it and wait until it is gone; what it had not delivered goes with its
        folder."""
        if self._process is not None:
            self._process.stop()
        self._commands.stop()

    def add_domain(self, name: str) -> None:
        """Let the tenant send from one more domain: its records published, verified."""
        if name in self.domains:
            return
        self._apply([name])
        self._publish(OPERATOR, "--operator")
        self._publish(name, name)
        self.verify(name)

    def verify(self, *domains: str) -> None:
        """Let the relay look at the domains' DNS now; raises SobooError where it lacks."""
        for domain in domains:
            self._commands.run("domain", "verify", domain)
        time.sleep(_FOLLOWS_WITHIN)

    def look_again(self, domain: str) -> bool:
        """As `verify`, for DNS that a test broke or mended: whether all is good."""
        is_good = self._commands.is_done("domain", "verify", domain)
        time.sleep(_FOLLOWS_WITHIN)
        return is_good

    def waiting(self, to: str = "") -> list[Waiting]:
        """What waits now, the oldest message first."""
        found = json.loads(self.command("queue", "list", "--json"))
        return [
            Waiting(
                message=one["message_id"],
                recipient=one["recipient"],
                state=one["state"],
                reason=one["reason"],
                explanation=one["explanation"],
                attempts=one["attempts"],
            )
            for one in found
            if to.lower() in one["recipient"].lower()
        ]

    def wait_for_waiting(
        self, *, to: str = "", state: str = "", timeout: float = 10
    ) -> Waiting:
        """Wait until a recipient waits in a state ("deferred", "held"), and return it.

        Raises AssertionError that says what waits instead.
        """
        __tracebackhide__ = True

        def is_there(seen: list[Waiting]) -> bool:
            return any(one.state == state or not state for one in seen)

        what = f"nobody like {to!r} waits{f' as {state}' if state else ''}"
        seen = self._until(is_there, what, to, timeout)
        return next(one for one in seen if one.state == state or not state)

    def wait_until_settled(self, *, to: str = "", timeout: float = 10) -> None:
        """Wait until nothing waits for a recipient: delivered, or failed for good."""
        __tracebackhide__ = True
        self._until(lambda seen: not seen, f"{to!r} is not settled", to, timeout)

    def _until(
        self,
        wanted: Callable[[list[Waiting]], bool],
        what: str,
        to: str,
        timeout: float,
    ) -> list[Waiting]:
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        while not wanted(seen := self.waiting(to)):
            if time.monotonic() > deadline:
                told = "".join(f"\n  {one}" for one in seen) or " nothing"
                raise AssertionError(f"{what} after {timeout:g} s; what waits:{told}")
            time.sleep(0.05)  # the store is asked: it tells nobody
        return seen

    def forget_waiting(self) -> None:
        """Cancel all that waits, so that it reaches no other test.

        What is being tried cannot be cancelled: it is waited for, while its host answers.
        """
        deadline = time.monotonic() + _ENDS_WITHIN
        while seen := self.waiting():
            for message in dict.fromkeys(one.message for one in seen):
                self._commands.is_done("queue", "cancel", message)
            if time.monotonic() > deadline:
                raise SobooError(f"still tried after {_ENDS_WITHIN:g} s: {seen}")

    def command(self, *words: str, codes: Sequence[int] = (0,)) -> str:
        """Run `soboo-mta WORDS` on this relay's store; raises SobooError on other codes."""
        return self._commands.run(*words, codes=codes)

    # ---- steps

    def _apply(self, domains: Iterable[str]) -> None:
        self.domains += [name for name in domains if name not in self.domains]
        names = ", ".join(f'{{ name = "{name}" }}' for name in self.domains)
        file = self._directory / "tenants.toml"
        file.write_text(
            f'[[tenant]]\nid = "suite"\ncredential = [{{ user_name = "{_USER}" }}]\n'
            f"domain = [{names}]\n"
        )
        made = json.loads(self._commands.run("apply", "-f", str(file), "--json"))
        for credential in made["credentials"]:
            self.secret = credential["secret"]

    def _publish(self, origin: str, which: str) -> None:
        text = self._commands.run(
            "domain", "records", which, "--format", "zone", "--no-dns"
        )
        lines = [
            line for line in text.splitlines() if line and not line.startswith(";")
        ]
        self._zones.publish(origin, lines)

    def _serve(self) -> bool:
        """Start it and wait until it greets; False where its port was taken meanwhile."""
        self.port = _free_port()
        self._write_config(
            port=self.port, dns=self._lab.dns_port, smtp=self._lab.smtp_port
        )
        self._process = Process(
            "relay",
            ["run", "serve", "--config", str(self._config)],
            self._directory / "relay.log",
        )
        self._process.follow()
        deadline = time.monotonic() + _STARTS_WITHIN
        while self._process.is_running:
            if _greets(self.port):
                return True
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {_STARTS_WITHIN:g} s")
            time.sleep(0.02)  # until its socket is bound: it tells nobody
        self._process.stop()
        if "in use" not in self._process.tail():
            raise self._failure("ended")
        return False

    def _failure(self, what: str) -> SobooError:
        assert self._process is not None
        return self._process.failure(what)

    def _write_config(self, *, port: int, dns: int, smtp: int) -> None:
        data = self._directory / "data"
        text = loopback_settings(
            data=data, port=port, dns=dns, smtp=smtp, retry=("500ms", "1s", "2s")
        )
        fresh = self._config.with_suffix(".new")
        fresh.write_text(text + self._settings)
        shutil.move(fresh, self._config)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        return int(holder.getsockname()[1])


def _greets(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, "127.0.0.1", timeout=5):
            return True
    except (OSError, smtplib.SMTPException):
        return False
