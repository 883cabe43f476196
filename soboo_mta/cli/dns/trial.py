"""A trial of the customer's own relay or mailbox, as `domain preflight --probe` makes it."""

from dataclasses import dataclass
from typing import Self

from soboo_mta.cli.context import CliStore
from soboo_mta.identity.state import DomainSettings, Source
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.way_out import CustomerMailbox, Secret, WayOut
from soboo_mta.net.relay_probe import SmtpRelayProbe
from soboo_mta.ports import Probed, Resolver
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.domains.relays import secret_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried: the way out with its secret, and the reverse-path to say."""

    way: WayOut
    secret: Secret | None
    reverse_path: Mailbox
    may_go_inside: bool

    @classmethod
    def of(
        cls, store: CliStore, settings: DomainSettings, author: Mailbox | None
    ) -> Self:
        """Of a domain that has a way out; raises SecretError where its secret is shut."""
        way = settings.way_out
        assert way is not None
        master = store.master if way.needs_secret else None
        secret = None
        if master is not None:
            secret = read_now(
                store.engine, lambda at: secret_of(at, master, settings.domain_id)
            )
        own = way.mailbox if isinstance(way, CustomerMailbox) else None
        return cls(
            way=way,
            secret=secret,
            reverse_path=author or own or Mailbox("postmaster", settings.name),
            may_go_inside=store.settings.delivery.private_destinations,
        )

    async def probed(self, resolver: Resolver, source: Source) -> Probed:
        """Try it from this host, with the EHLO name of `source`."""
        probe = SmtpRelayProbe(
            resolver=resolver, private_destinations=self.may_go_inside
        )
        return await probe.probe(
            self.way,
            self.secret,
            reverse_path=self.reverse_path,
            ehlo=source.ehlo_name,
        )
