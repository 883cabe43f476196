"""Who may send as whom: proof, suspension, revocation, networks and quotas, seen by SMTP."""

import smtplib
from email.message import EmailMessage
from pathlib import Path

import pytest

from soboo_mta.cli.trial.world import World, free_ports, world

TENANTS = """\
[[tenant]]
id = "acme"
name = "Acme Ltd"
daily_quota = 3
credential = [
    { user_name = "acme-app" },
    { user_name = "acme-elsewhere", networks = ["192.0.2.0/24"] },
]
domain = [{ name = "acme.example" }, { name = "unproven.example" }]

[[tenant]]
id = "other"
name = "Other Ltd"
credential = [{ user_name = "other-app" }]
domain = [{ name = "other.example" }]

[[operator_credential]]
user_name = "esp-server"
"""
TO = ["ann@alpha.test"]


def _mail(author: str, name: str = "1") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = author, TO[0], name
    message["Message-ID"] = f"<{name}@test>"
    message.set_content("Hello.\n")
    return message


async def _arrived(place: World, name: str) -> None:
    await place.lab.wait_for(
        lambda all_: any(r.verdict.message_id == f"<{name}@test>" for r in all_), 20
    )


async def test_case_046_only_proven_owners_send_and_only_while_they_may(
    tmp_path: Path,
) -> None:
    (port,) = free_ports(1)
    async with world(tmp_path / "world", port=port) as place:
        await place.command("secret", "generate")
        await place.apply(TENANTS)
        place.zones.write_destination("alpha.test", "127.0.0.2")
        await place.publish_operator()
        for name in ("acme.example", "other.example"):
            await place.publish(name)
            await place.command("domain", "verify", name)
        await place.start_relay()
        await _proof(place)
        await _credentials(place)
        await _suspension(place)
        await _quota(place)


async def _proof(place: World) -> None:
    """A domain that was never verified, and another tenant's."""
    unproven = await place.submit("acme-app", _mail("a@unproven.example"), TO)
    assert unproven.startswith("550 5.7.1")
    assert "bounce.unproven.example" in unproven  # what to publish
    foreign = await place.submit("acme-app", _mail("a@other.example"), TO)
    assert foreign.startswith("550 5.7.1")
    below = await place.submit("acme-app", _mail("a@news.acme.example"), TO)
    assert below.startswith("550 5.7.1")
    for author, name in (("a@acme.example", "esp-1"), ("o@other.example", "esp-2")):
        taken = await place.submit("esp-server", _mail(author, name), TO)
        assert taken.startswith("250")
        await _arrived(place, name)


async def _credentials(place: World) -> None:
    """The wrong network, the wrong password, and a credential revoked meanwhile."""
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await place.submit("acme-elsewhere", _mail("a@acme.example"), TO)
    right = place.secrets["other-app"]
    place.secrets["other-app"] = "wrong"
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await place.submit("other-app", _mail("o@other.example"), TO)
    place.secrets["other-app"] = right
    with smtplib.SMTP("127.0.0.1", place.port, "app.test", timeout=20) as session:
        session.login("other-app", right)
        assert session.mail("o@other.example")[0] == 250
        session.rset()
        await place.command("credential", "revoke", "other-app")

        async def is_dead() -> bool:
            code, _ = session.mail("o@other.example")
            session.rset()
            return code >= 500

        await place.until("the revoked credential is refused", is_dead, 5)


async def _suspension(place: World) -> None:
    """What was accepted before waits; nothing more is accepted; then it leaves."""
    (place.directory / "sinks.toml").write_text(
        '[[rule]]\nrecipient = "ann@alpha.test"\naction = "reply"\n'
        'reply = "451 4.3.0 Not now"\n'
    )
    mail = _mail("o@other.example", "suspended")
    assert (await place.submit("esp-server", mail, TO)).startswith("250")
    await place.command("tenant", "suspend", "other")

    async def is_refused() -> bool:
        answer = await place.submit("esp-server", _mail("o@other.example", "no"), TO)
        return answer.startswith("550")

    await place.until("a suspended tenant is refused", is_refused, 5)
    (place.directory / "sinks.toml").write_text("")  # the host would take it now
    listed = await place.command("queue", "list")
    assert "tenant other" in listed
    assert not any("suspended" in r.verdict.message_id for r in place.lab.records)
    await place.command("tenant", "resume", "other")
    await _arrived(place, "suspended")


async def _quota(place: World) -> None:
    """Three recipients a day: one is used by now, two more go, the fourth waits."""
    answers = [
        await place.submit("acme-app", _mail("a@acme.example", f"quota-{n}"), TO)
        for n in range(3)
    ]
    assert [answer[:3] for answer in answers] == ["250", "250", "451"]
