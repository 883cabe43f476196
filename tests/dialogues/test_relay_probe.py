"""A customer's submission server, tried step by step against scripted peers."""

import asyncio
import base64
import gc
import ssl
import warnings
from collections.abc import Sequence
from datetime import timedelta

import pytest
import trustme

from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.way_out import (
    CustomerMailbox,
    CustomerRelay,
    MailboxAuth,
    MailboxProvider,
    RelayTls,
    Secret,
    SubmissionServer,
)
from soboo_mta.net.relay_probe import PROBE_TIMEOUTS, SmtpRelayProbe
from soboo_mta.ports import Probed, ProbeStep, SmtpTimeouts
from soboo_mta.submission.options import ListenerOptions
from tests.fakes.dns import FakeResolver
from tests.fakes.peer import GREETING, QUIT, Peer
from tests.fakes.submission import desk, listening

HOST = Domain("smtp.customer.com")
PLAIN = base64.b64encode(b"\0esp\0open sesame").decode()
SECRET = Secret("open sesame")
OFFER = [*GREETING, "S: 250-peer.example", "S: 250 STARTTLS"]
SECURE = [*OFFER, "C: STARTTLS", "S: 220 go", "TLS", "C: EHLO *"]
WITH_AUTH = [*SECURE, "S: 250-peer.example", "S: 250-DSN", "S: 250 AUTH LOGIN PLAIN"]
TRIED = ["C: MAIL FROM:<postmaster@customer.com>*", "S: 250 ok", "C: RSET", "S: 250 ok"]
GOOD = [*WITH_AUTH, f"C: AUTH PLAIN {PLAIN}", "S: 235 in", *TRIED, *QUIT]
_NONE = timedelta(0)
SHORT = SmtpTimeouts(
    connect=timedelta(milliseconds=300),
    banner=timedelta(milliseconds=300),
    command=timedelta(milliseconds=300),
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(authority: trustme.CA, name: str = HOST) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def probed(
    authority: trustme.CA,
    script: Sequence[str],
    *,
    name: str = HOST,
    user: str | None = "esp",
    timeouts: SmtpTimeouts = PROBE_TIMEOUTS,
) -> tuple[Probed, Peer]:
    async with Peer([list(script)], tls=serving(authority, name)) as peer:
        relay = CustomerRelay(server=_server(peer), user=user)
        found = await a_probe(authority, timeouts).probe(
            relay,
            SECRET if user else None,
            reverse_path=parse_mailbox("postmaster@customer.com"),
            ehlo="mta1.esp.example",
        )
        return found, peer


def a_probe(
    authority: trustme.CA,
    timeouts: SmtpTimeouts = PROBE_TIMEOUTS,
    *,
    address: str = "127.0.0.1",
    private: bool = True,
    whole: timedelta = timedelta(minutes=1),
) -> SmtpRelayProbe:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    resolver = FakeResolver()
    resolver.add(HOST, "A", address)
    return SmtpRelayProbe(
        resolver=resolver,
        timeouts=timeouts,
        verifying=context,
        private_destinations=private,
        whole=whole,
    )


def _server(peer: Peer, tls: RelayTls = RelayTls.STARTTLS) -> SubmissionServer:
    return SubmissionServer(host=HOST, port=peer.hop.port, tls=tls)


async def test_a_good_relay_is_logged_in_to_and_gets_no_message(authority):
    found, peer = await probed(authority, GOOD)
    assert (found.failed, found.detail) == (None, "")
    assert set(found.done) == set(ProbeStep)
    assert found.tls.startswith("TLSv1.")
    assert found.offers == ("DSN",)
    assert peer.wrong == []
    assert not [line for line in peer.said if line.startswith(("RCPT", "DATA"))]


async def test_a_relay_that_knows_our_address_asks_for_no_login(authority):
    script = [*SECURE, "S: 250 peer.example", *TRIED, *QUIT]
    found, peer = await probed(authority, script, user=None)
    assert found.failed is None
    assert ProbeStep.AUTH not in found.done
    assert peer.wrong == []


WRONG = ["S: 535-5.7.8 bad", f"S: 535 5.7.8 you said {PLAIN} and open sesame"]
FAULTS = {
    "no STARTTLS": ([*GREETING, "S: 250 peer.example"], "tls", "offers no STARTTLS"),
    "STARTTLS refused": ([*OFFER, "C: STARTTLS", "S: 454 no"], "tls", "454"),
    "no AUTH": ([*SECURE, "S: 250 peer.example"], "auth-offered", "no AUTH PLAIN or"),
    "other AUTH": (
        [*SECURE, "S: 250-peer.example", "S: 250 AUTH XOAUTH2"],
        "auth-offered",
        "but XOAUTH2",
    ),
    "wrong password": ([*WITH_AUTH, "C: AUTH *", *WRONG], "auth", "535"),
    "login put off": ([*WITH_AUTH, "C: AUTH *", "S: 454 4.7.0 later"], "auth", "454"),
    "MAIL refused": (
        [*GOOD[:-6], "C: MAIL *", "S: 553 5.7.1 not yours"],
        "mail-from",
        "553",
    ),
    "busy": (["S: 421 4.3.2 go away"], "ehlo", "421"),
    "no SMTP": (["S: HTTP/1.1 400 Bad Request"], "ehlo", ""),
    "gone": (["S: 220 hi", "C: EHLO *", "DROP"], "ehlo", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_failure_is_named_with_what_the_server_said(authority, fault):
    script, step, words = FAULTS[fault]
    found, peer = await probed(authority, script)
    assert (found.failed, peer.wrong) == (ProbeStep(step), [])
    assert words in found.detail
    assert found.detail


async def test_a_wrong_password_is_tried_once_and_never_repeated_in_words(authority):
    found, peer = await probed(authority, [*WITH_AUTH, "C: AUTH *", *WRONG])
    assert found.detail.count("****") == 2
    assert PLAIN not in found.detail
    assert "open sesame" not in found.detail
    assert len([line for line in peer.said if line.startswith("AUTH")]) == 1


@pytest.mark.parametrize("where", range(4))
async def test_a_peer_that_hangs_is_given_up_at_the_step_it_hangs_in(authority, where):
    scripts = [
        (["HANG"], "ehlo"),
        (["S: 220 hi", "C: EHLO *", "HANG"], "ehlo"),
        ([*OFFER, "C: STARTTLS", "S: 220 go", "HANG"], "tls"),
        ([*WITH_AUTH, "C: AUTH *", "HANG"], "auth"),
    ]
    script, step = scripts[where]
    found, _ = await probed(authority, script, timeouts=SHORT)
    assert found.failed == ProbeStep(step)
    assert found.detail


async def test_all_of_a_probe_is_bounded(authority):
    async with Peer([["HANG"]]) as peer:
        probe = a_probe(authority, whole=timedelta(milliseconds=200))
        found = await probe.probe(
            CustomerRelay(server=_server(peer)),
            None,
            reverse_path=parse_mailbox("postmaster@customer.com"),
            ehlo="mta1.esp.example",
        )
    assert found.failed is ProbeStep.EHLO
    assert "given up after 0.2 seconds" in found.detail


async def test_a_certificate_of_another_name_ends_it_before_the_login(authority):
    found, peer = await probed(authority, GOOD, name="other.example")
    assert found.failed is ProbeStep.TLS
    assert "certificate" in found.detail
    assert not [line for line in peer.said if line.startswith("AUTH")]


async def test_a_certificate_of_an_unknown_authority_ends_it(authority):
    async with Peer([GOOD], tls=serving(trustme.CA())) as peer:
        found = await a_probe(authority).probe(
            CustomerRelay(server=_server(peer), user="esp"),
            SECRET,
            reverse_path=parse_mailbox("postmaster@customer.com"),
            ehlo="mta1.esp.example",
        )
        assert found.failed is ProbeStep.TLS
        assert "certificate" in found.detail


async def _implicit(authority, script, timeouts=PROBE_TIMEOUTS):
    async with Peer([list(script)], tls=serving(authority)) as peer:
        return await a_probe(authority, timeouts).probe(
            CustomerRelay(server=_server(peer, RelayTls.IMPLICIT), user="esp"),
            SECRET,
            reverse_path=parse_mailbox("postmaster@customer.com"),
            ehlo="mta1.esp.example",
        )


async def test_tls_may_come_first(authority):
    script = [
        *("TLS", *GREETING, "S: 250-peer.example", "S: 250 AUTH PLAIN"),
        *(f"C: AUTH PLAIN {PLAIN}", "S: 235 in", *TRIED, *QUIT),
    ]
    found = await _implicit(authority, script)
    assert (found.failed, found.detail) == (None, "")
    assert set(found.done) == set(ProbeStep)


async def test_a_server_that_speaks_first_in_clear_is_not_taken_for_tls(authority):
    found = await _implicit(authority, GREETING)
    assert found.failed is ProbeStep.TLS


async def test_a_handshake_that_hangs_is_tls_and_not_the_connection(authority):
    found = await _implicit(authority, ["HANG"], SHORT)
    assert found.failed is ProbeStep.TLS
    assert ProbeStep.CONNECT not in found.done or found.detail


async def test_a_refresh_token_is_not_said_to_be_good(authority):
    script = [*SECURE, "S: 250-peer.example", "S: 250 AUTH PLAIN XOAUTH2"]
    async with Peer([script], tls=serving(authority)) as peer:
        account = CustomerMailbox(
            mailbox=parse_mailbox("news@customer.com"),
            provider=MailboxProvider.GOOGLE,
            auth=MailboxAuth.OAUTH,
            server=_server(peer),
            oauth_client="app",
        )
        found = await a_probe(authority).probe(
            account, SECRET, reverse_path=account.mailbox, ehlo="mta1.esp.example"
        )
    assert found.failed is None
    assert ProbeStep.AUTH not in found.done
    assert "was not tried" in found.detail


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254"])
async def test_a_name_that_leads_inside_is_never_connected_to(authority, address):
    async with Peer([GOOD], tls=serving(authority)) as peer:
        found = await a_probe(authority, address=address, private=False).probe(
            CustomerRelay(server=_server(peer), user="esp"),
            SECRET,
            reverse_path=parse_mailbox("postmaster@customer.com"),
            ehlo="mta1.esp.example",
        )
        assert (found.failed, peer.connections) == (ProbeStep.ADDRESS, 0)
    assert "a private address" in found.detail


async def test_a_port_that_nobody_listens_on_and_a_name_without_address(authority):
    async with Peer([GOOD]) as peer:
        server = _server(peer)
    for probe, step in (
        (a_probe(authority), ProbeStep.CONNECT),
        (SmtpRelayProbe(resolver=FakeResolver()), ProbeStep.ADDRESS),
    ):
        found = await probe.probe(
            CustomerRelay(server=server),
            None,
            reverse_path=parse_mailbox("postmaster@customer.com"),
            ehlo="mta1.esp.example",
        )
        assert (found.failed, found.is_silent) == (step, False)
    silent = SmtpRelayProbe(resolver=FakeResolver(silent={HOST}))
    found = await silent.probe(
        CustomerRelay(server=server),
        None,
        reverse_path=parse_mailbox("postmaster@customer.com"),
        ehlo="mta1.esp.example",
    )
    assert (found.failed, found.is_silent) == (ProbeStep.ADDRESS, True)


async def test_nothing_stays_open_when_the_loop_ends_with_the_probe(authority):
    script = [*GOOD[: -len(QUIT)], "C: QUIT", "S: 221 bye", "HANG"]
    async with Peer([script], tls=serving(authority)) as peer:
        probing = a_probe(authority).probe(
            CustomerRelay(server=_server(peer), user="esp"),
            SECRET,
            reverse_path=parse_mailbox("postmaster@customer.com"),
            ehlo="mta1.esp.example",
        )
        found = await asyncio.to_thread(asyncio.run, probing)
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    assert (found.failed, [str(one.message) for one in left]) == (None, [])


# ---- a real server: our own listener


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("password", "failed"), [("s3cret", None), ("wrong", ProbeStep.AUTH)]
)
async def test_our_own_listener_is_logged_in_to_by_the_right_password_alone(
    authority, implicit, password, failed
):
    one = desk()
    tls = serving(authority)
    quick = ListenerOptions(clear_login_on_loopback=False, failed_login_delay=_NONE)
    listener = listening(one, quick, tls=tls, implicit_tls=implicit)
    async with listener as (_, port):
        how = RelayTls.IMPLICIT if implicit else RelayTls.STARTTLS
        server = SubmissionServer(host=HOST, port=port, tls=how)
        found = await a_probe(authority).probe(
            CustomerRelay(server=server, user="acme"),
            Secret(password),
            reverse_path=parse_mailbox("shop@acme.example"),
            ehlo="mta1.esp.example",
        )
    assert (found.failed, bool(found.detail)) == (failed, failed is not None)
    assert one.spool.kept == []
