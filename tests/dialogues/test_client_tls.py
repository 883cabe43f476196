"""STARTTLS by policy against scripted peers: case 151."""

import ssl
import warnings
from datetime import timedelta

import pytest
import trustme

from soboo_mta.mail.outcome import Deferred, Delivered, Reason, Scope
from soboo_mta.net.smtp_client import ClientOptions, SmtpConnector
from soboo_mta.ports import ConnectFailure, Session, SmtpTimeouts, TlsPolicy
from tests.fakes.peer import ACCEPT, GREETING, PIPELINING, QUIT, Peer, a_transaction

OFFER = [*GREETING, "S: 250-peer.example", "S: 250-PIPELINING", "S: 250 STARTTLS"]
UPGRADE = [*OFFER, "C: STARTTLS", "S: 220 go", "TLS", "C: EHLO *"]
SECURE = [*UPGRADE, "S: 250-peer.example", "S: 250 PIPELINING", *ACCEPT, *QUIT]
CLEAR = [*PIPELINING, *ACCEPT, *QUIT]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(authority: trustme.CA, name: str = "peer.example") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def a_connector(authority: trustme.CA, how: str = "") -> SmtpConnector:
    """Patient with a peer that answers: on a busy machine a handshake takes long."""
    is_mute = how in ("silent", "no TLS")  # what it says beside its 220 is not read
    context = ssl.create_default_context()
    authority.configure_trust(context)
    patience = timedelta(seconds=1 if is_mute else 30)
    timeouts = SmtpTimeouts(connect=patience)  # of the handshake too
    return SmtpConnector(verifying=context, options=ClientOptions(timeouts=timeouts))


async def connect(
    peer: Peer, connector: SmtpConnector, tls: TlsPolicy
) -> Session | ConnectFailure:
    return await connector.connect(
        peer.hop, ehlo="out.esp.example", source_address=None, tls=tls
    )


@pytest.mark.parametrize("tls", [TlsPolicy.OPPORTUNISTIC, TlsPolicy.REQUIRED])
async def test_case_151_a_good_peer_is_reached_over_tls(authority, tls):
    async with Peer([SECURE], tls=serving(authority)) as peer:
        session = await connect(peer, a_connector(authority), tls)
        assert not isinstance(session, ConnectFailure), session
        assert session.tls.startswith("TLSv1.")
        assert isinstance((await session.deliver(a_transaction()))[0], Delivered)
        await session.close()
        assert peer.wrong == []


async def test_case_151_an_unverified_certificate_does_for_opportunistic_tls(authority):
    script = [*UPGRADE, "S: 250 peer.example", *QUIT]
    async with Peer([script], tls=serving(authority, "other.example")) as peer:
        session = await connect(peer, SmtpConnector(), TlsPolicy.OPPORTUNISTIC)
        assert not isinstance(session, ConnectFailure), session
        assert session.tls
        await session.close()


BREAKS = {
    "dropped": ["S: 220 go", "DROP"],
    "silent": ["S: 220 go", "HANG"],
    "no TLS": ["S: 220 go", "S: 250 what"],
    "refused for now": ["S: 454 4.7.0 TLS not available"],
    "refused": ["S: 502 5.5.1 not implemented"],
}


@pytest.mark.parametrize("how", BREAKS)
async def test_case_151_a_broken_starttls_falls_back_to_clear_and_is_remembered(
    authority, how
):
    broken = [*OFFER, "C: STARTTLS", *BREAKS[how]]
    async with Peer([broken, [*OFFER, *ACCEPT, *QUIT]]) as peer:
        connector = a_connector(authority, how)
        for _ in range(2):
            session = await connect(peer, connector, TlsPolicy.OPPORTUNISTIC)
            assert not isinstance(session, ConnectFailure), session
            assert session.tls == ""
            assert isinstance((await session.deliver(a_transaction()))[0], Delivered)
            await session.close()
        assert peer.said.count("STARTTLS") == 1
        assert peer.connections == 3


async def test_case_150_plaintext_injected_behind_the_220_is_never_read(authority):
    injected = [*UPGRADE]
    injected[injected.index("S: 220 go")] = "S: 220 go\r\n250 injected"
    script = [*injected, "S: 250-peer.example", "S: 250 PIPELINING", *ACCEPT, *QUIT]
    async with Peer([script, CLEAR], tls=serving(authority)) as peer:
        session = await connect(peer, a_connector(authority), TlsPolicy.REQUIRED)
        if not isinstance(session, ConnectFailure):
            (outcome,) = await session.deliver(a_transaction())
            assert isinstance(outcome, Delivered)
            assert str(outcome.reply) == "250 2.0.0 queued"
            await session.close()


@pytest.mark.parametrize("name", ["other.example", None])
async def test_case_151_required_tls_never_goes_in_clear(authority, name):
    script = CLEAR if name is None else SECURE
    context = None if name is None else serving(authority, name)
    async with Peer([script], tls=context) as peer:
        failure = await connect(peer, a_connector(authority), TlsPolicy.REQUIRED)
        assert isinstance(failure, ConnectFailure)
        assert isinstance(failure.outcome, Deferred)
        assert failure.outcome.reason is Reason.TLS
        assert not any(line.startswith("MAIL") for line in peer.said)


@pytest.mark.parametrize("how", BREAKS)
async def test_case_151_required_tls_defers_where_starttls_is_broken(authority, how):
    async with Peer([[*OFFER, "C: STARTTLS", *BREAKS[how]]]) as peer:
        connector = a_connector(authority, how)
        failure = await connect(peer, connector, TlsPolicy.REQUIRED)
        assert isinstance(failure, ConnectFailure)
        assert isinstance(failure.outcome, Deferred)
        assert failure.outcome.scope is Scope.HOST
        assert peer.connections == 1
        assert not any(line.startswith("MAIL") for line in peer.said)


async def test_case_151_broken_starttls_is_tried_again_after_a_while(authority):
    broken = [*OFFER, "C: STARTTLS", "S: 220 go", "DROP"]
    options = ClientOptions(tls_memory=timedelta(0))
    connector = SmtpConnector(options=options)
    async with Peer([broken, [*OFFER, *QUIT], SECURE], tls=serving(authority)) as peer:
        session = await connect(peer, connector, TlsPolicy.OPPORTUNISTIC)
        assert not isinstance(session, ConnectFailure), session
        assert session.tls == ""
        await session.close()
        session = await connect(peer, connector, TlsPolicy.OPPORTUNISTIC)
        assert not isinstance(session, ConnectFailure), session
        assert session.tls
        await session.deliver(a_transaction())
        await session.close()


def only_tls_1_0(authority: trustme.CA) -> ssl.SSLContext:
    context = serving(authority)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def test_case_151_a_peer_of_tls_1_0_gets_the_mail_in_clear_on_a_new_connection(
    authority,
):
    in_clear = [*OFFER, *ACCEPT, *QUIT]
    async with Peer([UPGRADE, in_clear], tls=only_tls_1_0(authority)) as peer:
        connector = a_connector(authority)
        session = await connect(peer, connector, TlsPolicy.OPPORTUNISTIC)
        assert not isinstance(session, ConnectFailure), session
        assert isinstance((await session.deliver(a_transaction()))[0], Delivered)
        await session.close()
        assert peer.connections == 2


async def test_case_151_a_peer_of_tls_1_0_gets_nothing_where_tls_is_required(authority):
    async with Peer([UPGRADE], tls=only_tls_1_0(authority)) as peer:
        failure = await connect(peer, a_connector(authority), TlsPolicy.REQUIRED)
        assert isinstance(failure, ConnectFailure)
        assert isinstance(failure.outcome, Deferred)
        assert failure.outcome.reason is Reason.TLS
        assert peer.connections == 1
