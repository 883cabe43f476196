"""One message accepted by a command: as a client's, without a socket; any worker sends it.

Holds a worker's number while it lasts, so that the message's id is nobody else's.
"""

import os
import socket

from soboo_mta.daemon.logs import set_up_logs
from soboo_mta.events.log import EventLog
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.identity.state import Operator
from soboo_mta.mail.ids import MessageId, MessageIds
from soboo_mta.ports import Clock
from soboo_mta.settings import Settings
from soboo_mta.settings.options import (
    acceptance_options,
    directory_options,
    feedback_options,
    spool_options,
    verp_keys,
    writer_options,
)
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.spool import Spool
from soboo_mta.store.engine import open_engine
from soboo_mta.store.writer import Writer
from soboo_mta.submission.acceptance import Acceptance, Envelope, Login
from soboo_mta.submission.feedback import Feedback
from soboo_mta.tenancy.directory import Directory
from soboo_mta.tenancy.quota import Quota
from soboo_mta.tenancy.suppression import Suppressions


async def submit(
    settings: Settings,
    operator: Operator,
    clock: Clock,
    login: Login,
    envelope: Envelope,
    octets: bytes,
) -> MessageId:
    """Accept one message and return its id: it is committed, and due for any worker.

    Raises Reject for what a client would be refused, and StoreError. Faults of ours are
    logged to standard error.
    """
    set_up_logs("error")
    engine = open_engine(settings.store_url)
    writer = Writer(engine, options=writer_options(settings))
    await writer.start()
    lease = WorkerLease(writer=writer, clock=clock)
    try:
        await lease.register(host=socket.gethostname(), process=os.getpid())
        acceptance = _acceptance(settings, operator, clock, writer, lease)
        try:
            kept = await acceptance.data(login, envelope, octets)
        finally:
            await lease.release()
    finally:
        await writer.close()
        engine.dispose()
    return MessageId.parse(kept.text.rpartition(" ")[2])


def feedback(settings: Settings) -> Feedback | None:
    """Return who writes the fields by which complaints find home; None: nobody."""
    options = feedback_options(settings)
    if options is None:
        return None
    return Feedback(
        verp=VerpSigner(*verp_keys(settings)),
        bounce_domain=settings.operator.bounce_domain,
        options=options,
    )


def _acceptance(
    settings: Settings,
    operator: Operator,
    clock: Clock,
    writer: Writer,
    lease: WorkerLease,
) -> Acceptance:
    directory = Directory(
        writer=writer,
        master=settings.master_key(),
        clock=clock,
        options=directory_options(settings),
    )
    return Acceptance(
        directory=directory,
        spool=Spool(
            writer=writer, lease=lease, clock=clock, options=spool_options(settings)
        ),
        quota=Quota(writer=writer, directory=directory, clock=clock),
        suppressions=Suppressions(writer=writer, clock=clock),
        ids=MessageIds(worker=lease.number, unix_ms=clock.unix_ms, floor=lease.floor),
        clock=clock,
        log=EventLog(),
        operator=operator,
        options=acceptance_options(settings),
        on_accepted=lambda _message, _recipients: None,  # nothing departs from here
        room_for=lambda _octets, _tenant: False,
        feedback=feedback(settings),
    )
