"""One Author address, decided on raw octets (RFC 5322 §3.4; espoofer A14 to A19)."""

from email.headerregistry import AddressHeader
from email.utils import getaddresses
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from soboo_mta.formats.author import parse_author
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.errors import FormatError
from tests.examples import examples


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b" news@customer.example\r\n", "news@customer.example"),
        (b" <news@customer.example>\r\n", "news@customer.example"),
        (b" News <news@Customer.EXAMPLE>\r\n", "news@customer.example"),
        (b" Customer Inc. <news@customer.example>\r\n", "news@customer.example"),
        (b' "Doe, Jane" <jane@customer.example>\r\n', "jane@customer.example"),
        (b' "info@x.example" <a@customer.example>\r\n', "a@customer.example"),
        (b' "a \\"b\\" \\\\ c" <a@customer.example>\r\n', "a@customer.example"),
        (b" =?utf-8?B?R3LDvMOfZQ==?= <a@customer.example>\r\n", "a@customer.example"),
        (b" =?utf-8?Q?Gr=C3=BC?=\r\n =?utf-8?Q?n?= <a@c.example>\r\n", "a@c.example"),
        (b"\r\n\tNews\r\n <a@customer.example>\r\n", "a@customer.example"),
        (b" a@customer.example (the news)\r\n", "a@customer.example"),
        (b" News (daily) <a@c.example> (ours)\r\n", "a@c.example"),
        (b" O'Neil & Sons <o'neil+x@c.example>\r\n", "o'neil+x@c.example"),
    ],
)
def test_one_plain_mailbox_is_read(value: bytes, address: str) -> None:
    assert str(parse_author(value, smtputf8=False)) == address


@pytest.mark.parametrize(
    ("value", "word"),
    [
        # espoofer A14, A15, A16, A17, A18, A19
        (b" <first@a.example>, <second@b.example>", "several addresses"),
        (b"=?utf-8?B?PGFkbWluQGEuZXhhbXBsZT4=?=,<second@b.example>", "several"),
        (b" <@a.example,@b.example:admin@c.example>", "route"),
        (b" <admin@a.example>\\,<second@b.example>", "backslash"),
        (b" admin@a.example,<second@b.example>", "several addresses"),
        (b" <any@a.example>admin@b.example", "after its address"),
        # case 48 and its kin
        (b" admin@a.example <second@b.example>", "more than one '@'"),
        (b" <a@x.example><b@y.example>", "after its address"),
        (b" Team: a@x.example, b@y.example;", "group"),
        (b" Nobody:;", "group"),
        (b" =?utf-8?Q?a=40x.example?=", "no address"),
        (b" <=?utf-8?Q?a?=@x.example>", "encoded word"),
        (b" <a(x)@x.example>", "one plain address"),
        (b" <a@x.example(x)>", "one plain address"),
        (b" a @x.example", "one plain address"),
        (b" < a@x.example >", "one plain address"),
        (b" News a@x.example", "one plain address"),
        (b" (<b@y.example>) a@x.example", "after its address"),
        (b" a@x.example (b@y.example)", "more than one '@'"),
        (b" (a (nested) comment) a@x.example", "one plain address"),
        (b' "open <a@x.example>', "quotes"),
        (b' "bad\\n" <a@x.example>', "one plain address"),
        (b' <"a\\"b"@x.example>', "quoted local part"),
        (b' <"a@b"@x.example>', "quoted local part"),
        (b' "a"@x.example', "quoted local part"),
        (b" <a@[192.0.2.1]>", "one plain address"),
        (b" <a@localhost>", "one plain address"),
        (b" <a@x.example.>", "one plain address"),
        (b" <a@x.example", "one plain address"),
        (b" <>", "no address"),
        (b" \r\n", "empty"),
        (b" <a@x.example>\x00", "control character"),
        (b" <a@x.example>\r\nTo: b@y.example\r\n", "control character"),
        (b" <a\x0b@x.example>", "control character"),
        ("Grün <a@x.example>".encode(), "octets over 127"),
        (b" " + b"a" * 2_000 + b" <a@x.example>", "2000 octets"),
    ],
)
def test_case_048_what_two_parsers_read_differently_is_refused_in_words(
    value: bytes, word: str
) -> None:
    with pytest.raises(FormatError, match=word):
        parse_author(value, smtputf8=False)


def test_utf8_is_read_where_smtputf8_was_asked_for() -> None:
    value = " Grüße <grün@grün.example>\r\n".encode()
    assert str(parse_author(value, smtputf8=True)) == "grün@xn--grn-ioa.example"


@pytest.mark.parametrize(
    "value", [b" Gr\xfc <a@x.example>", " a\u2028b <a@x.example>".encode()]
)
def test_smtputf8_takes_neither_other_charsets_nor_odd_line_ends(value: bytes) -> None:
    with pytest.raises(FormatError):
        parse_author(value, smtputf8=True)


def readings(value: str) -> list[str]:
    """The addresses that the standard library's two parsers find, one after the other."""
    unfolded = value.replace("\r\n", "")
    found = [address for _, address in getaddresses([unfolded])]
    # The mailboxes alone: to show a name that ends in a full stop it raises.
    addresses = AddressHeader.value_parser(unfolded).addresses
    found += [box.addr_spec for one in addresses for box in one.all_mailboxes]
    return [str(parse_mailbox(address)) for address in found]


@pytest.mark.parametrize("piece", ["<@", '"\\"', "(", "a.", ">", "=?", '"" ', "() "])
def test_a_hostile_value_costs_little(piece: str) -> None:
    value = (piece * 2_000)[:1_990].encode()
    before = process_time()
    with pytest.raises(FormatError):
        parse_author(value, smtputf8=False)
    assert process_time() - before < 0.5  # seconds; about 0.01 when all is well


_TOKENS = st.sampled_from(
    [
        *"<>()[]\"\\,:;@. \t'`=?é",
        "\r\n ",
        "Name",
        "a@x.example",
        "<b@y.example>",
        '"q, r@s"',
        "(c)",
        "=?utf-8?q?a=40b?=",
        "=?utf-8?b?PGFAeC55Pg==?=",
        "=?utf-8?q?",
        "?=",
        '"a"@x.example',
        "\\,",
        "(",
    ]
)


@examples(1_500)
@given(st.lists(_TOKENS, min_size=1, max_size=8).map("".join))
@example('"a" <a@x.example>')
@example("=?utf-8?b?PGFAeC55Pg==?= <b@y.example>")
@example(" .<b@y.example>")
@example('"q, r@s".<b@y.example>')
def test_case_048_what_is_accepted_the_standard_library_reads_alike(value: str) -> None:
    try:
        author = str(parse_author(value.encode(), smtputf8=True))
    except FormatError:
        return
    assert readings(value) == [author, author]


_PLAIN_TOKENS = st.sampled_from(
    ["Name ", "Inc. ", '"q, r@s" ', "(c) ", "=?utf-8?q?a=40b?= ", "O'N ", "\r\n ", "\t"]
)


@examples(500)
@given(
    st.lists(_PLAIN_TOKENS, max_size=6).map("".join),
    st.sampled_from(["<b@y.example>", "<b.c+d@y-z.example>"]),
    st.sampled_from(["", " ", " (c)", "\r\n (c) "]),
)
def test_every_plain_display_name_is_accepted_and_read_alike(
    name: str, address: str, after: str
) -> None:
    value = name + address + after
    author = str(parse_author(value.encode(), smtputf8=False))
    assert f"<{author}>" == address
    assert readings(value) == [author, author]


@pytest.mark.parametrize(
    "domain",
    ["faß.example", "ας.example", "cus\u00adtomer.example", "ⅽustomer.example"],
)
def test_case_051_a_domain_that_programs_map_differently_is_refused(
    domain: str,
) -> None:
    with pytest.raises(FormatError, match="its ASCII form"):
        parse_author(f"a@{domain}".encode(), smtputf8=True)
    assert parse_author(b"a@xn--fa-hia.example", smtputf8=True).domain
