"""The pytest plugin: a relay, the local internet around it, and what arrived there.

Registered as `soboo`. Owns the fixtures, their scopes, the options and the marker; what
they give is made in the other files, imported when a fixture is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # the one place: a suite that uses no fixture must not load these
    from soboo_mta.testing.dns import SobooDns, Zones
    from soboo_mta.testing.message import Verdict
    from soboo_mta.testing.running.lab import SobooLab
    from soboo_mta.testing.running.relay import SobooRelay
    from soboo_mta.testing.sinks import SobooSinks

_SCOPES = ("session", "package", "module", "class", "function")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options; none is needed."""
    parser.addini(
        "soboo_domains",
        "Domains that soboo_relay may send from (default: shop.example).",
        type="args",
        default=["shop.example"],
    )
    parser.addini(
        "soboo_timeout", "Seconds that waits last (default: 10).", default="10"
    )
    parser.addini(
        "soboo_scope",
        "How long one relay and lab live: session (default), module, function, …",
        default="session",
    )
    parser.addini(
        "soboo_settings", "More lines of the relay's settings (TOML).", default=""
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker is for; refuse options that make no sense."""
    config.addinivalue_line(
        "markers",
        "soboo(domains=[...]): domains that soboo_relay may send from, beside the"
        " soboo_domains of the settings.",
    )

    if _scope("", config) not in _SCOPES:
        raise pytest.UsageError(
            f"soboo_scope = {_scope('', config)}: one of {', '.join(_SCOPES)}"
        )
    _timeout(config)


def _scope(fixture_name: str, config: pytest.Config) -> str:
    return str(config.getini("soboo_scope"))


def _timeout(config: pytest.Config) -> float:
    given = str(config.getini("soboo_timeout"))
    try:
        return float(given)
    except ValueError:
        raise pytest.UsageError(
            f"soboo_timeout = {given}: write seconds, as 10"
        ) from None


# A scope that is a function has no type in pytest: its result is a word of _SCOPES.
@pytest.fixture(scope=_scope)  # type: ignore[arg-type]  # as above
def _soboo_started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Started]:
    """The lab, begun; the relay only where a test wants it."""
    started = _Started(request, tmp_path_factory)
    try:
        yield started
    finally:
        started.stop()


class _Started:
    """What runs for one scope. The relay is made ready while the lab starts."""

    def __init__(
        self, request: pytest.FixtureRequest, folders: pytest.TempPathFactory
    ) -> None:
        from soboo_mta.testing.dns import Zones
        from soboo_mta.testing.running.lab import SobooLab

        self._folder = folders.mktemp("soboo")
        self.config = request.config
        self._domains = _domains(request)
        self.lab: SobooLab = SobooLab(self._folder / "lab")
        self.zones: Zones = Zones(self.lab)
        self._relay: SobooRelay | None = None
        self._is_lab_ready = False

    def ready_lab(self) -> SobooLab:
        """The lab, once it answers."""
        if not self._is_lab_ready:
            self.lab.wait_until_ready()
            self._is_lab_ready = True
        return self.lab

    @property
    def relay(self) -> SobooRelay | None:
        """The relay, where one was asked for."""
        return self._relay

    def ready_relay(self) -> SobooRelay:
        """The relay, once it answers and its domains are verified."""
        if self._relay is None:
            from soboo_mta.testing.running.relay import SobooRelay

            self._relay = SobooRelay(
                self._folder / "relay",
                self.lab,
                self.zones,
                settings=str(self.config.getini("soboo_settings")),
            )
            self._relay.prepare(self._domains)
            self.ready_lab()
            self._relay.start()
        return self._relay

    def stop(self) -> None:
        """End both, at the same time."""
        self.lab.end()
        if self._relay is not None:
            self._relay.end()
            self._relay.stop()
        self.lab.stop()


def _domains(request: pytest.FixtureRequest) -> list[str]:
    """Those of the settings and of every marker of the run: all are set up at once."""
    found = list(request.config.getini("soboo_domains"))
    for item in request.session.items:
        for marker in item.iter_markers("soboo"):
            found += _marked(marker)
    return list(dict.fromkeys(name.lower() for name in found))


def _marked(marker: pytest.Mark) -> list[str]:
    unknown = set(marker.kwargs) - {"domains"}
    if marker.args or unknown:
        raise pytest.UsageError(
            f"@pytest.mark.soboo takes domains=[...] alone, not {unknown or marker.args}"
        )
    given = marker.kwargs.get("domains", [])
    if isinstance(given, str) or not all(isinstance(one, str) for one in given):
        raise pytest.UsageError(f"domains={given!r}: write a list of names")
    return list(given)


@pytest.fixture(scope=_scope)  # type: ignore[arg-type]  # as _soboo_started
def soboo_lab(_soboo_started: _Started) -> SobooLab:
    """The whole local internet: name server, sinks, verdicts, and `page` to look at."""
    return _soboo_started.ready_lab()


@pytest.fixture(scope=_scope)  # type: ignore[arg-type]  # as _soboo_started
def soboo_relay(_soboo_started: _Started) -> SobooRelay:
    """A running relay: host, port, user, secret; its domains are published and verified."""
    return _soboo_started.ready_relay()


@pytest.fixture
def soboo_dns(_soboo_started: _Started) -> Iterator[SobooDns]:
    """DNS while this test runs: add, replace, remove, fail; undone at its end."""
    from soboo_mta.testing.dns import SobooDns

    _soboo_started.ready_lab()
    made = SobooDns(_soboo_started.zones)
    yield made
    made.mend()


@pytest.fixture
def soboo_sinks(_soboo_started: _Started) -> Iterator[SobooSinks]:
    """The sinks for this test: rules, refusals, messages; rules are undone at its end."""
    from soboo_mta.testing.sinks import SobooSinks

    timeout = _timeout(_soboo_started.config)
    lab = _soboo_started.ready_lab()
    made = SobooSinks(lab, _soboo_started.zones, timeout=timeout)
    yield made
    made.close()  # first: an attempt may hang at one of its rules
    if _soboo_started.relay is not None:
        _soboo_started.relay.forget_waiting()


@pytest.fixture
def soboo_verdicts(_soboo_started: _Started) -> Callable[..., Verdict]:
    """Judge octets under the lab's DNS: `soboo_verdicts(octets, mail_from="a@b.example")`."""
    from urllib.parse import urlencode

    from soboo_mta.testing.message import Verdict

    lab = _soboo_started.ready_lab()

    def judge(
        octets: bytes, *, mail_from: str = "", peer: str = "127.0.0.1", helo: str = ""
    ) -> Verdict:
        query = urlencode({"mail_from": mail_from, "peer": peer, "helo": helo})
        body = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return Verdict.of(
            _parsed(lab.send("POST", f"verdicts?{query}", body, "message/rfc822"))
        )

    return judge


def _parsed(octets: bytes) -> dict[str, object]:
    import json

    return dict(json.loads(octets))
