"""A message under a client's key: kept once, answered alike, told from another."""

import asyncio
import hashlib
from ipaddress import ip_address

import pytest

from soboo_mta.mail.address import parse_mailbox, parse_reverse_path
from soboo_mta.mail.errors import Reject
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.spooled import OnceKey
from soboo_mta.store.unit import Fenced
from soboo_mta.submission import replies
from soboo_mta.submission.acceptance import Envelope, Login
from tests.fakes.submission import ACME, MESSAGE, Desk, desk


async def submit(one: Desk, key: OnceKey | None) -> Reply:
    login = Login(tenant=ACME, credential=None, client=ip_address("192.0.2.9"))
    envelope = Envelope(
        reverse_path=parse_reverse_path("app@acme.example"),
        recipients=(parse_mailbox("rcpt@dest.example"),),
        smtputf8=True,
        protocol="HTTP",
    )
    return await one.acceptance.data(login, envelope, MESSAGE, once=key)


def key(content: bytes = b"one") -> OnceKey:
    return OnceKey(scope="acme", key="k", digest=hashlib.sha256(content).digest())


async def test_case_168_a_repeat_gets_the_first_answer_and_keeps_nothing() -> None:
    one = desk()
    first = await submit(one, key())
    quota = one.quota.left
    assert await submit(one, key()) == first
    assert (len(one.spool.kept), len(one.handed_over), one.quota.left) == (1, 1, quota)
    assert await submit(one, None) != first


async def test_a_key_used_for_another_message_is_refused() -> None:
    one = desk()
    await submit(one, key())
    with pytest.raises(Reject) as refusal:
        await submit(one, key(b"other"))
    assert refusal.value.reply == replies.KEY_REUSED


async def test_case_168_who_comes_second_to_the_commit_gets_the_firsts_answer() -> None:
    one = desk()
    one.spool.gate = gate = asyncio.Event()
    quota = one.quota.left
    late = asyncio.create_task(submit(one, key()))
    await one.spool.is_committing.wait()
    one.spool.gate = None
    first = await submit(one, key())  # overtakes
    one.spool.failure = Fenced("taken")
    gate.set()
    assert await late == first
    assert (len(one.spool.kept), one.quota.left) == (1, quota - 1)
    assert one.log.errors == []


async def test_a_refused_message_leaves_its_key_free() -> None:
    one = desk()
    one.quota.left = 0
    with pytest.raises(Reject):
        await submit(one, key())
    one.quota.left = 1
    assert (await submit(one, key(b"mended"))).code == 250
