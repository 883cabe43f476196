"""Whom reports may go to, and the operator's own domain, without a store or DNS."""

from dataclasses import dataclass, field, replace

from soboo_mta.formats.keys import generate_rsa
from soboo_mta.identity.state import DomainState, Operator, PublicKey
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from tests.fakes.connector import OPERATOR, good_state

PAIR = generate_rsa()


@dataclass
class FakeAccount:
    reports: bool = True
    report_address: Mailbox | None = None


@dataclass
class FakeAccounts:
    """One tenant, whose one verified domain is customer.example."""

    account: FakeAccount = field(default_factory=FakeAccount)
    operator_keys: tuple[PublicKey, ...] = good_state(PAIR).settings.keys

    async def tenant(self, tenant_id: TenantId) -> FakeAccount:
        return self.account

    async def sending_domain(
        self, author_domain: Domain, *, tenant: TenantId | None
    ) -> DomainState | None:
        state = good_state(PAIR)
        return state if author_domain == state.settings.name else None


class FakeOwnDomain:
    """The operator's domain in good order, until told otherwise."""

    def __init__(self) -> None:
        state = good_state(PAIR)
        view = replace(
            state.facts.walk,
            organizational=((OPERATOR.domain, OPERATOR.domain),),
        )
        self.found = replace(
            state,
            settings=replace(state.settings, name=OPERATOR.domain),
            facts=replace(state.facts, walk=view, suffix_list=view, bounce_ready=False),
        )

    async def state(self, operator: Operator) -> DomainState:
        return self.found
