"""Forged return addresses by the million: none opens, none is taken, nothing changes.

Run by `make interop`, for its length alone: nothing but Python is needed.
"""

import json
import random
import time
from pathlib import Path

import pytest

from soboo_mta.formats.verp import VerpSigner
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId
from tests.fakes.pipelined import replies_to
from tests.stories.test_a_bounce_comes_home import (
    RECIPIENTS,
    delivered,
    listed,
    receiving,
    return_port,
)

FORGED = 1_000_000
OVER_SMTP = 10_000
NOW = 1_800_000_000_000
DAY = 86_400_000
LETTERS = "0123456789abcdefghijklmnopqrstuv"
HOSTS = [Domain(f"bounce.customer{n}.com") for n in range(10)]


def changed(local: str, chance: random.Random) -> str:
    """Another address by one to three letters, places swapped, or a piece of another."""
    letters = list(local)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(2, len(letters))
        letters[at] = chance.choice(LETTERS.replace(letters[at], ""))
    if chance.random() < 0.2:
        one, two = chance.sample(range(2, len(letters)), 2)
        letters[one], letters[two] = letters[two], letters[one]
    return "".join(letters)


@pytest.mark.parametrize("prefix", ["b-", "u-"])
def test_case_094_a_million_forged_addresses_do_not_open(prefix: str, capsys) -> None:
    chance = random.Random(94)
    signer = VerpSigner({0: b"k" * 32, 1: b"l" * 32}, 1)
    stranger = VerpSigner({0: b"x" * 32, 1: b"y" * 32}, 1)
    is_path = prefix == "b-"
    make, other = VerpSigner.address, VerpSigner.unsubscribe_address
    open_it = signer.open if is_path else signer.open_unsubscribe
    if not is_path:
        make, other = other, make
    signed_for = [
        (MessageId(n << 22), n % 9, NOW + DAY, host)
        for n in range(1, 101)
        for host in HOSTS
    ]
    good = [(make(signer, *one).local_part, one[3]) for one in signed_for]
    misused = [other(signer, *one).local_part for one in signed_for]
    assert all(open_it(local, host, NOW) for local, host in good)
    opened, began = 0, time.perf_counter()
    for number in range(FORGED):
        local, host = good[number % len(good)]
        match number % 6:
            case 0 | 1:
                forged, at, when = changed(local, chance), host, NOW
                if forged == local:
                    continue
            case 2:  # another tenant's host
                forged, at, when = local, HOSTS[(HOSTS.index(host) + 1) % 10], NOW
            case 3:  # expired
                forged, at, when = local, host, NOW + DAY + 3_600_001
            case 4:  # of the other use, as it is and with our prefix
                forged, at, when = misused[number % len(good)], host, NOW
                if chance.random() < 0.5:
                    forged = prefix + forged[2:]
            case _:  # well made, with another key
                message = MessageId(chance.getrandbits(62))
                made = make(stranger, message, 0, NOW + DAY, host)
                forged, at, when = made.local_part, host, NOW
        opened += open_it(forged, at, when) is not None
    took = time.perf_counter() - began
    with capsys.disabled():
        print(
            f"\nforged {prefix} addresses: {FORGED:,}, opened: {opened} ({took:.1f} s)"
        )
    assert opened == 0


async def test_case_094_ten_thousand_forged_addresses_are_refused_over_smtp(
    tmp_path: Path, capsys
) -> None:
    chance = random.Random(95)
    async with receiving(tmp_path / "world", workers=1) as place:
        paths = list((await delivered(place, *RECIPIENTS)).values())
        refused = taken = 0
        while refused + taken < OVER_SMTP:
            commands = [b"EHLO forger.example", b"MAIL FROM:<>"]
            for _ in range(20):
                local, _, domain = chance.choice(paths).partition("@")
                forged = changed(local, chance)
                if forged == local:
                    continue
                commands.append(f"RCPT TO:<{forged}@{domain}>".encode())
            answers = await replies_to(return_port(place), [*commands, b"QUIT"])
            verdicts = answers[3 : 3 + len(commands) - 2]
            assert len(verdicts) == len(commands) - 2
            refused += sum(one.startswith("550 5.1.1 ") for one in verdicts)
            taken += sum(one.startswith("250") for one in verdicts)
        with capsys.disabled():
            print(f"\nforged recipients over SMTP: {refused:,} refused, {taken} taken")
        assert taken == 0
        assert await listed(place) == []
        list_of = ("suppression", "list", "--tenant", "acme", "--json")
        assert json.loads(await place.command(*list_of)) == []
