import pytest

from soboo_mta.mail.address import (
    NULL_REVERSE_PATH,
    Mailbox,
    parse_mailbox,
    parse_reverse_path,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("bücher\u3002example", "xn--bcher-kva.example"),
        ("a-b.c1.org", "a-b.c1.org"),
    ],
)
def test_case_022_051_equal_domains_have_one_normal_form(
    text: str, normal: str
) -> None:
    assert Domain.parse(text) == normal
    assert type(Domain.parse(text)) is Domain


@pytest.mark.parametrize(
    "text",
    [
        "localhost",
        "",
        ".",
        "a..b",
        "-a.com",
        "a-.com",
        "a_b.com",
        "192.0.2.1",
        "[192.0.2.1]",
        "example.com:25",
        "exa mple.com",
        "xn--zzzzzz---.com",
        "e\x00.com",
        "a" * 64 + ".com",
        ".".join(["a" * 60] * 5) + ".com",
    ],
)
def test_case_022_119_what_is_no_mail_domain_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Domain.parse(text)


def test_a_dns_name_may_have_underscores_and_one_label() -> None:
    name = DnsName.parse("_DMARC.Example.com.")
    assert name == "_dmarc.example.com"
    assert name.is_below("example.com")
    assert not DnsName("notexample.com").is_below("example.com")
    assert name.labels == ("_dmarc", "example", "com")


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com",
        "a.b+c=d@example.com",
        '"a b"@example.com',
        '"a\\"b"@example.com',
        "jörg@example.com",
    ],
)
def test_a_valid_mailbox_keeps_its_local_part(text: str) -> None:
    assert str(parse_mailbox(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "user",
        "@example.com",
        "a b@example.com",
        "a..b@example.com",
        ".a@example.com",
        "a@example.com>SIZE=10",
        "<a@example.com",
        "a(c)@example.com",
        '"a\r b"@example.com',
        "a\x00@example.com",
        "a\x7f@example.com",
        "\udcff@example.com",
        "@r1,@r2:a@example.com",
        "u@[192.0.2.1]",
        "u@localhost",
        "a" * 65 + "@example.com",
        "a" * 60 + "@" + ".".join(["b" * 60] * 3) + ".com.example",
    ],
)
def test_case_015_what_cannot_go_into_a_command_line_is_no_mailbox(text: str) -> None:
    with pytest.raises(FormatError):
        parse_mailbox(text)


def test_case_017_the_null_reverse_path_is_a_value_of_its_own() -> None:
    assert parse_reverse_path("") is NULL_REVERSE_PATH
    assert NULL_REVERSE_PATH.is_null
    assert str(NULL_REVERSE_PATH) == ""
    path = parse_reverse_path("a@b.example")
    assert path.mailbox == Mailbox("a", Domain("b.example"))
    assert not path.is_null
