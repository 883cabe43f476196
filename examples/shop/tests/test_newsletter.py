"""The newsletter, and TLS that goes wrong on either side of the relay."""

import ssl

import pytest
from shop.backend import EmailBackend
from shop.newsletter import send_newsletter
from shop.settings import MailSettings


def test_every_reader_gets_a_copy(mail_settings, soboo_sinks):
    readers = ["ann@readers.test", "bob@readers.test", "eve@readers.test"]
    with EmailBackend(mail_settings) as backend:
        assert send_newsletter(backend, readers) == 3

    copies = soboo_sinks.wait_for_all(3, to="@readers.test")
    assert sorted(copy.recipients[0] for copy in copies) == readers
    for copy in copies:
        assert copy.subject == "Grüße im Frühling"
        assert "<h1>Spring</h1>" in copy.html
        copy.assert_dmarc().assert_tls()


def test_a_host_whose_tls_is_broken_gets_it_in_clear(mail_settings, soboo_sinks):
    soboo_sinks.break_tls("broken.test", "handshake")

    with EmailBackend(mail_settings) as backend:
        send_newsletter(backend, ["ann@broken.test"])

    message = soboo_sinks.wait_for(to="ann@broken.test")
    assert not message.is_tls


@pytest.mark.parametrize("fault", ["expired", "self-signed"])
def test_we_send_nothing_to_a_relay_that_cannot_prove_who_it_is(
    soboo_lab, soboo_sinks, fault
):
    """Straight to a sink, which takes any password: what would our backend do?"""
    soboo_sinks.rule(action="tls", fault=fault)
    trust = ssl.create_default_context(cafile=soboo_lab.authority_file)
    impostor = MailSettings(soboo_sinks.host, soboo_sinks.port, "shop", "secret")

    with (
        pytest.raises(ssl.SSLCertVerificationError),
        EmailBackend(impostor, trust=trust),
    ):
        pass

    assert soboo_sinks.messages == []


def test_a_verified_connection_is_used(soboo_lab, soboo_sinks):
    trust = ssl.create_default_context(cafile=soboo_lab.authority_file)
    relay = MailSettings(soboo_sinks.host, soboo_sinks.port, "shop", "secret")

    with EmailBackend(relay, trust=trust) as backend:
        send_newsletter(backend, ["ann@readers.test"])

    message = soboo_sinks.wait_for(to="ann@readers.test")
    assert (message.user, message.is_tls) == ("shop", True)
