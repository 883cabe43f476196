"""Opens sessions by TLS policy (ports.Connector); remembers hosts with broken STARTTLS."""

import asyncio
import ssl
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta

from soboo_mta.formats.classes.rules import RuleSet, own_rules
from soboo_mta.mail.outcome import Reason
from soboo_mta.net.smtp_client.opening import Client, Trouble
from soboo_mta.net.smtp_client.session import SmtpSession
from soboo_mta.ports import (
    ConnectFailure,
    HopAddress,
    IpAddress,
    SmtpTimeouts,
    TlsPolicy,
)
from soboo_mta.transfer.classify import Stage, broken


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How sessions are opened."""

    timeouts: SmtpTimeouts = field(default_factory=SmtpTimeouts)
    tls_memory: timedelta = timedelta(hours=1)  # how long broken STARTTLS is remembered
    tls_remembered: int = 10_000  # hosts remembered
    dialogue_octets: int = 4_096  # of what was said, kept with an attempt; 0: nothing


class SmtpConnector:
    """Opens sessions (ports.Connector); remembers hosts whose STARTTLS is broken."""

    def __init__(
        self,
        *,
        options: ClientOptions | None = None,
        verifying: ssl.SSLContext | None = None,
        rules: RuleSet | None = None,
    ) -> None:
        """`rules` read what hosts answer; None: those that come with the relay."""
        self._options = options or ClientOptions()
        self._verifying = verifying or ssl.create_default_context()
        self._trusting = ssl.create_default_context()
        self._trusting.check_hostname = False
        self._trusting.verify_mode = ssl.CERT_NONE  # opportunistic: RFC 7435 §3
        self._rules = rules or own_rules()
        self._tls_broken: OrderedDict[HopAddress, float] = OrderedDict()

    async def connect(
        self,
        hop: HopAddress,
        *,
        ehlo: str,
        source_address: IpAddress | None,
        tls: TlsPolicy,
    ) -> "SmtpSession | ConnectFailure":
        """Return a session that has said EHLO, or why there is none; see ports."""
        timeouts, rules = self._options.timeouts, self._rules
        client = Client(hop, ehlo, source_address, timeouts, rules)
        try:
            await client.open()
            if await self._secured(client, hop, tls):
                return SmtpSession(
                    client,
                    self._options.timeouts,
                    dialogue_octets=self._options.dialogue_octets,
                )
        except Trouble as trouble:
            client.abort()
            said = client.wire.tape.text(self._options.dialogue_octets)
            return ConnectFailure(trouble.outcome, said)
        except BaseException:
            client.abort()
            raise
        client.abort()
        self._remember_broken_tls(hop)
        return await self.connect(
            hop, ehlo=ehlo, source_address=source_address, tls=TlsPolicy.NONE
        )

    async def _secured(self, client: "Client", hop: HopAddress, tls: TlsPolicy) -> bool:
        """Whether the session is as safe as `tls` asks; False: try again in clear."""
        if tls is TlsPolicy.REQUIRED:
            if not client.supports_extension("starttls"):
                missing = f"{hop}: the host offers no STARTTLS"
                raise Trouble(broken(Stage.STARTTLS, Reason.TLS, missing))
            await client.secure(hop.host, self._verifying)
            return True
        wanted = tls is TlsPolicy.OPPORTUNISTIC and not self._is_tls_broken(hop)
        if not (wanted and client.supports_extension("starttls")):
            return True
        try:
            await client.secure(hop.host, self._trusting)
        except Trouble:
            return False
        return True

    def _is_tls_broken(self, hop: HopAddress) -> bool:
        until = self._tls_broken.get(hop)
        return until is not None and until > asyncio.get_running_loop().time()

    def _remember_broken_tls(self, hop: HopAddress) -> None:
        now = asyncio.get_running_loop().time()
        self._tls_broken[hop] = now + self._options.tls_memory.total_seconds()
        self._tls_broken.move_to_end(hop)
        while len(self._tls_broken) > self._options.tls_remembered:
            self._tls_broken.popitem(last=False)
