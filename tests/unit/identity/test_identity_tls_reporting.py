"""Where TLS reports are asked to, as a setting says it and as the record holds it."""

import pytest

from soboo_mta.identity.zones.tls_reporting import TlsReportsTo
from soboo_mta.mail.errors import FormatError


@pytest.mark.parametrize(
    ("text", "rua", "path"),
    [
        ("mailto:tls@esp.example", "mailto:tls@esp.example", ""),
        ("https://esp.example/tls", "https://esp.example/tls", "/tls"),
        ("https://esp.example:8443", "https://esp.example:8443", "/"),
        (
            "https://esp.example/a%2Db?x=1 ,mailto:tls@esp.example",
            "mailto:tls@esp.example,https://esp.example/a%2Db?x=1",
            "/a-b",
        ),
    ],
)
def test_one_of_each_kind_may_be_named(text: str, rua: str, path: str) -> None:
    found = TlsReportsTo.parse(text)
    assert (str(found), found.path) == (rua, path)
    assert (found.mailbox is not None) == ("mailto" in text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tls@esp.example",
        "http://esp.example/tls",
        "mailto:a@esp.example,mailto:b@esp.example",
        "https://a.example/,https://b.example/",
        "mailto:tls@esp.example,",
        "https://esp.example/a;b",
        "https://esp.example/a!b",
        "https://localhost/tls",
        f"https://esp.example/{'x' * 201}",
        "mailto:tls@esp.example\nx",
    ],
)
def test_what_the_record_could_not_hold_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="is not an address for TLS reports"):
        TlsReportsTo.parse(text)
