"""One connection of a ready queue."""

from dataclasses import dataclass

from soboo_mta.mail.outcome import Outcome, Reason
from soboo_mta.ports import HopAddress, Session
from soboo_mta.transfer.classify import Stage, broken


@dataclass(frozen=True, slots=True)
class Unreached:
    """No connection: what that means, the host that was tried last, what was said."""

    outcome: Outcome
    host: str = ""
    dialogue: str = ""


NO_FAMILY = Unreached(
    broken(
        Stage.CONNECT, Reason.CONNECTION, "no host has an address our source can reach"
    )
)


@dataclass(slots=True, eq=False)
class Line:
    """One connection: its session while there is one, and how much it was used."""

    session: Session | None = None
    hop: HopAddress | None = None
    opened: float = 0.0
    used: int = 0

    @property
    def host(self) -> str:
        return str(self.hop) if self.hop else ""

    async def close(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            await session.close()
