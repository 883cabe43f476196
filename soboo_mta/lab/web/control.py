"""The API over the lab itself: its state, rules for sinks, verdicts on request."""

from typing import Annotated

from fastapi import APIRouter, Body, HTTPException, Request
from fastapi import Query as Parameter
from pydantic import BaseModel

from soboo_mta import __version__
from soboo_mta.lab.entries import parse_entries
from soboo_mta.lab.lab import Lab
from soboo_mta.lab.record import Refusal
from soboo_mta.lab.rules.rule import Rule, Stage
from soboo_mta.lab.verdict import Received
from soboo_mta.lab.web.shapes import Judgement, Status, TurnedAway

LARGEST = 64 * 1024 * 1024  # octets of a message to judge


class Rules(BaseModel):
    """The rules in force, in the order of their turn; added ones have a number."""

    added: dict[int, Rule]
    file: list[Rule]


class Added(BaseModel):
    """The numbers of the rules just added, in order."""

    numbers: list[int]


def rule_routes(lab: Lab) -> APIRouter:
    """Return the routes of the sinks' rules."""
    router = APIRouter(prefix="/api", tags=["rules"])
    behaviour = lab.behaviour

    @router.get("/rules")
    async def rules() -> Rules:
        """List the rules: those added here, then those of the file."""
        return Rules(added=behaviour.added, file=list(behaviour.filed))

    @router.post("/rules", status_code=201)
    async def add(rule: Rule) -> Added:
        """Add a rule below those added before; it stands above the file's."""
        return Added(numbers=[_add(lab, rule)])

    @router.put("/rules")
    async def replace(
        text: Annotated[str, Body(media_type="application/toml")],
    ) -> Added:
        """Put the rules of a TOML text, as of sinks.toml, in place of all added ones."""
        try:
            wanted = parse_entries(text, "rules", "rule", Rule)
        except ValueError as trouble:
            raise HTTPException(422, str(trouble)) from trouble
        behaviour.clear()
        return Added(numbers=[_add(lab, rule) for rule in wanted])

    @router.delete("/rules/{number}", status_code=204)
    async def remove(number: int) -> None:
        """Take an added rule away."""
        if not behaviour.remove(number):
            raise HTTPException(404, f"there is no added rule {number}")

    @router.delete("/rules", status_code=204)
    async def clear() -> None:
        """Take all added rules away, and forget how often rules acted."""
        behaviour.clear()

    return router


def state_routes(lab: Lab) -> APIRouter:
    """Return the routes of the lab's own state, and of verdicts."""
    router = APIRouter(prefix="/api", tags=["lab"])

    @router.get("/status")
    async def status() -> Status:
        """Say where the lab listens, how full it is, and which files are in error."""
        return _status(lab)

    @router.get("/refusals")
    async def refusals(
        to: Annotated[str, Parameter(description="In a recipient's address.")] = "",
        stage: Annotated[Stage | None, Parameter(description="At it alone.")] = None,
        after: Annotated[int, Parameter(ge=0, description="Numbers above it.")] = 0,
        count: Annotated[int, Parameter(ge=0, le=10_000)] = 0,
        timeout: Annotated[  # noqa: ASYNC109  # the client's, answered with 404
            float, Parameter(gt=0, le=300, description="Seconds, for `count`.")
        ] = 10.0,
    ) -> list[TurnedAway]:
        """List what rules turned away, the newest last; wait until there are `count`."""

        def found() -> list[Refusal]:
            return [
                one
                for one in lab.refusals
                if one.number > after
                and (stage is None or one.stage == stage)
                and (not to or any(to.lower() in x.lower() for x in one.recipients))
            ]

        try:
            await lab.wait_for(lambda _: len(found()) >= count, timeout)
        except TimeoutError as late:
            raise HTTPException(
                404, f"{len(found())} of {count} refusals within {timeout:g} s"
            ) from late
        return [TurnedAway.of(one) for one in found()]

    @router.delete("/connections", status_code=204)
    async def cut() -> None:
        """End every connection to the sinks: what comes next meets the rules of now."""
        lab.cut_connections()

    @router.post("/verdicts")
    async def judge(
        request: Request, peer: str = "127.0.0.1", helo: str = "", mail_from: str = ""
    ) -> Judgement:
        """Judge the message in the body (message/rfc822) under the lab's DNS of now."""
        octets = bytearray()
        async for piece in request.stream():
            octets += piece
            if len(octets) > LARGEST:
                raise HTTPException(413, f"over {LARGEST} octets")
        received = Received(
            peer=peer, helo=helo, mail_from=mail_from, octets=bytes(octets)
        )
        return Judgement.of(await lab.judge(received))

    return router


def _add(lab: Lab, rule: Rule) -> int:
    try:
        return lab.behaviour.add(rule)
    except ValueError as trouble:
        raise HTTPException(409, str(trouble)) from trouble


def _status(lab: Lab) -> Status:
    box = lab.mailbox
    return Status(
        version=__version__,
        dns_address=lab.options.dns_address,
        dns_port=lab.dns_port,
        sinks=list(lab.options.sinks.addresses),
        smtp_port=lab.sink_port,
        zones_directory=str(lab.zones_directory),
        faults_file=str(lab.faults_file),
        rules_file=str(lab.behaviour_file),
        authority_file=lab.authority_file and str(lab.authority_file),
        problems={str(path): problem for path, problem in lab.problems.items()},
        received=lab.received,
        kept=len(box),
        kept_octets=box.octets,
        dropped=box.dropped,
        limit_messages=box.options.messages,
        limit_octets=box.options.octets,
    )
