"""The settings as one value, and what follows from several of them together.

A variable `SOBOO_SECTION__KEY` of the environment stands above the file. Building this
reads no file; `load` does.
"""

import os
from typing import Annotated

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from soboo_mta.formats.classes.rules import (
    RuleSet,
    own_rules,
    own_rules_text,
    read_rules,
)
from soboo_mta.identity.state import Operator, PublicKey, Source
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.settings.sections import (
    Classification,
    Complaints,
    Delivery,
    Dns,
    Events,
    GroupSection,
    Http,
    HttpListener,
    Listener,
    Log,
    Monitoring,
    Onboarding,
    OperatorSection,
    PoolSection,
    Publish,
    Reports,
    Retention,
    Retry,
    ReturnListener,
    Returns,
    RouteSection,
    Secrets,
    Server,
    Signing,
    SourceSection,
    Store,
    Submission,
    Suppression,
    Tls,
    Trace,
    Webhooks,
)
from soboo_mta.store.engine import default_url
from soboo_mta.tenancy.secrets import MasterKey, SecretError
from soboo_mta.transfer.routing.rules import EVERYTHING, NextHop

_NOT_A_HARNESS = (
    "assume_verified is for test harnesses: it is accepted only while a route for the"
    " domain * exists and every route ends on loopback or on an address in [delivery]"
    " test_sinks; here {}. Verify the domain by its DNS records instead"
)


class Settings(BaseSettings):
    """All that an operator sets. Paths are absolute once loaded."""

    model_config = SettingsConfigDict(
        env_prefix="SOBOO_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    server: Server = Server()
    store: Store = Store()
    secrets: Secrets
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1)]
    tls: Tls = Tls()
    submission: Submission = Submission()
    http_listeners: tuple[HttpListener, ...] = ()
    http: Http = Http()
    return_listeners: tuple[ReturnListener, ...] = ()
    returns: Returns = Returns()
    complaints: Complaints = Complaints()
    operator: OperatorSection
    sources: Annotated[tuple[SourceSection, ...], Field(min_length=1)]
    pools: tuple[PoolSection, ...] = ()
    dns: Dns = Dns()
    delivery: Delivery = Delivery()
    groups: tuple[GroupSection, ...] = ()
    routes: tuple[RouteSection, ...] = ()
    retry: Retry = Retry()
    classification: Classification = Classification()
    suppression: Suppression = Suppression()
    reports: Reports = Reports()
    signing: Signing = Signing()
    onboarding: Onboarding = Onboarding()
    publish: Publish = Publish()
    retention: Retention = Retention()
    events: Events = Events()
    webhooks: Webhooks = Webhooks()
    trace: Trace = Trace()
    monitoring: Monitoring = Monitoring()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment above the file, and nothing else."""
        return env_settings, init_settings

    @property
    def store_url(self) -> str:
        """The URL set, or the embedded store in the data directory."""
        return self.store.url or default_url(self.server.data_directory)

    @property
    def worker_count(self) -> int:
        """Processes that relay; 0: all of it in one process."""
        if self.server.workers == "auto":
            return len(os.sched_getaffinity(0))
        return self.server.workers

    @property
    def host_name(self) -> Domain:
        """Our name in the banner and in Received fields."""
        return self.server.host_name or self.sources[0].ehlo_name

    @property
    def publishes(self) -> bool:
        """Whether [publish] names a name server."""
        return self.publish.server is not None or self.publish.directory is not None

    @property
    def allows_assume_verified(self) -> bool:
        """Whether a domain may be taken as verified without looking: test harnesses."""
        return not self.assume_verified_refusal

    @property
    def assume_verified_refusal(self) -> str:
        """Why `assume_verified` is not accepted on any domain; "" where it is."""
        if not any(route.domain == EVERYTHING for route in self.routes):
            return _NOT_A_HARNESS.format("there is no route for the domain *")
        for route in self.routes:
            if route.is_mx:
                return _NOT_A_HARNESS.format(f"the route {route.domain} is by MX")
            for hop in route.hops:
                if not self._is_sink(hop):
                    cause = f"the route {route.domain} ends on {hop}"
                    return _NOT_A_HARNESS.format(cause)
        return ""

    def _is_sink(self, hop: NextHop) -> bool:
        if isinstance(hop.host, str):
            return False  # what a name leads to can change
        return hop.host.is_loopback or hop.host in self.delivery.test_sinks

    def identity(self, keys: tuple[PublicKey, ...] = ()) -> Operator:
        """Return the operator as the identity room sees it, with its own d= `keys`."""
        return Operator(
            domain=self.operator.domain,
            bounce_domain=self.operator.bounce_domain,
            mx_hosts=self.operator.hosts,
            dmarc_reports=self.operator.dmarc_reports,
            link_hosts=self.operator.link_hosts,
            image_hosts=self.operator.image_hosts,
            sources=tuple(
                Source(
                    name=source.name,
                    address=source.address,
                    public_address=source.public_address,
                    ehlo_name=source.ehlo_name,
                )
                for source in self.sources
            ),
            keys=keys,
        )

    def bounce_rules(self) -> RuleSet:
        """Read the rules by which refusals are told apart: the operator's, then ours.

        Raises FormatError that names the file and what is wrong in it.
        """
        file = self.classification.rules
        if file is None:
            return own_rules()
        try:
            return read_rules(file.read_text(encoding="utf-8"), own_rules_text())
        except (OSError, UnicodeError, FormatError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise FormatError(f"[classification] rules {file}: {why}") from error

    def master_key(self) -> MasterKey:
        """Return the master key; raises SecretError that says what to do."""
        if self.secrets.master_key_file is not None:
            return MasterKey.from_file(self.secrets.master_key_file)
        name = self.secrets.master_key_env or ""
        text = os.environ.get(name)
        if text is None:
            raise SecretError(
                f"the variable {name} of the environment, which"
                " [secrets] master_key_env names, is not set"
            )
        return MasterKey.from_text(text)
