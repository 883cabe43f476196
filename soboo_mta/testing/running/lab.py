"""The lab as a process of its own, and its HTTP API as a client sees it."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from soboo_mta.testing.running.processes import Process, SobooError

_HOSTS = 9 if sys.platform == "linux" else 1  # elsewhere loopback has one address
_ADDED = 30.0  # seconds that an answer may take above what is waited for


class NotYet(Exception):
    """What was waited for did not come; the text says what did."""


class SobooLab:
    """The running lab. `hosts` are the sinks' addresses: the first takes all mail, the
    others can be given to domains of their own. `page` shows what came, in a browser."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.zones_directory = directory / "zones"
        self.faults_file = directory / "faults.toml"
        self.hosts = tuple(f"127.0.0.{number}" for number in range(1, _HOSTS + 1))
        self.zones_directory.mkdir(parents=True)
        sinks = [word for host in self.hosts for word in ("--sink", f"{host}:0")]
        self._process = Process(
            "lab",
            [
                *("run", "lab", "--zones", str(self.zones_directory)),
                *("--dns", "127.0.0.1:0", "--web", "127.0.0.1:0", "--tls"),
                *("--rules", str(directory / "sinks.toml")),
                *("--faults", str(self.faults_file), *sinks),
            ],
            directory / "lab.log",
        )
        self.host = self.hosts[0]
        self.smtp_port = self.dns_port = 0
        self.page = ""
        self.authority_file = directory / "tls" / "ca.pem"
        self._given = 0
        self._opener: OpenerDirector | None = None

    def wait_until_ready(self) -> None:
        """Read where it listens; raises SobooError where it cannot start."""
        while not (self.smtp_port and self.dns_port and self.page):
            kind, _, rest = self._process.read_line().partition(" ")
            match kind:
                case "dns":
                    self.dns_port = int(rest.split()[-1])
                case "sinks":
                    self.smtp_port = int(rest.split()[-1])
                case "page":
                    self.page = rest
        self._process.follow()
        self._opener = build_opener(ProxyHandler({}))  # a proxy knows no loopback

    def end(self) -> None:
        """Tell it to end; `stop` waits for it."""
        self._process.end()

    def stop(self) -> None:
        """End it and wait until it is gone."""
        self._process.stop()

    def next_host(self) -> str:
        """An address that was not given out for longest: a sender may remember for a
        second where a domain was in the test before."""
        if len(self.hosts) == 1:
            return self.host
        self._given = self._given % (len(self.hosts) - 1) + 1
        return self.hosts[self._given]

    def cut_connections(self) -> None:
        """End every connection to the sinks: a relay that keeps one open for the next
        message would not meet the rules of now."""
        self.send("DELETE", "connections", None)

    def get(self, path: str, **query: object) -> Any:
        """GET, JSON parsed; raises NotYet for a 404 of a wait."""
        return json.loads(self.octets(path, **query))

    def octets(self, path: str, **query: object) -> bytes:
        """GET, as it comes."""
        given = {name.rstrip("_"): value for name, value in query.items() if value}
        return self.send("GET", f"{path}?{urlencode(given)}", None)

    def send(
        self, method: str, path: str, body: bytes | None, kind: str = "application/json"
    ) -> bytes:
        """Make a request; raises NotYet for 404, ValueError for what makes no sense."""
        assert self._opener is not None, "the lab has not been waited for"
        request = Request(  # noqa: S310  # http, to our own process
            f"{self.page}api/{path}",
            data=body,
            method=method,
            headers={"content-type": kind},
        )
        wait = _ADDED + 300
        try:
            with self._opener.open(request, timeout=wait) as answer:
                return bytes(answer.read())
        except HTTPError as refusal:
            with refusal:
                text = json.loads(refusal.read())["detail"]
            if refusal.code == 404:
                raise NotYet(text) from refusal
            if refusal.code in (409, 422):
                raise ValueError(text) from refusal
            raise SobooError(f"the lab answered {refusal.code}: {text}") from refusal
        except OSError as gone:
            raise self._process.failure("does not answer") from gone
