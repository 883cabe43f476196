"""The DMARC record of a zone that is the From domain: never weaker than what there was."""

import pytest

from soboo_mta.identity.zones.zone_dmarc import kept_record, record_to_keep
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError

_ZONE = DnsName("news.customer.com")
_OWN, _ABOVE = DnsName("_dmarc.news.customer.com"), DnsName("_dmarc.customer.com")
_TEXT = "v=DMARC1; p=reject; rua=mailto:d@customer.com"


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        ({_OWN: (_TEXT,)}, _TEXT),
        ({_OWN: ("other=1", f"{_TEXT}; psd=n",)}, _TEXT),
        ({_OWN: ("v=DMARC1; PSD = y; p=none; rua=mailto:a@b.example",)},
         "v=DMARC1; p=none; rua=mailto:a@b.example"),
        ({_OWN: (_TEXT,), _ABOVE: ("v=DMARC1; p=none",)}, _TEXT),
        ({_ABOVE: (_TEXT,)}, ""),
        ({_OWN: (_TEXT, _TEXT), _ABOVE: (_TEXT,)}, ""),
        ({_OWN: (_TEXT, _TEXT)}, "v=DMARC1; p=none"),
        ({_OWN: ("v=DMARC1; p=deny",)}, "v=DMARC1; p=none"),
        ({}, "v=DMARC1; p=none"),
        (
            {_OWN: ("v=DMARC1; p=reject; sp=none; adkim=s; x=\xfc",)},
            "v=DMARC1; p=reject; sp=none; adkim=s; aspf=r",
        ),
    ],
)  # fmt: skip
def test_what_there_was_is_kept(
    texts: dict[DnsName, tuple[str, ...]], kept: str
) -> None:
    assert record_to_keep(_ZONE, texts) == kept


@pytest.mark.parametrize(
    "text", ["", "p=none", "v=DMARC1", "v=DMARC1; p=none\n", "x" * 2000]
)
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="DMARC record"):
        kept_record(text)
