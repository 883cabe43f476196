"""ENVID, RET, NOTIFY and ORCPT: what is read is what was meant, and is written again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.dsn.parameters import (
    mail_parameters,
    read_envelope_id,
    read_notify,
    read_original_recipient,
    read_returned,
    recipient_parameters,
    to_xtext,
)
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.notify import Asked, DsnRequest, Notify, OriginalRecipient, Returned

PRINTABLE = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30
)


@given(PRINTABLE)
def test_xtext_is_read_as_it_was_written_case_and_all(text: str) -> None:
    assert read_envelope_id(to_xtext(text)) == text


@given(
    st.text(
        st.characters(min_codepoint=0x21, categories=("L", "N", "P", "S")),
        min_size=1,
        max_size=20,
    )
)
def test_a_utf8_original_recipient_survives_seven_bits(address: str) -> None:
    asked = Asked(orcpt=OriginalRecipient("utf-8", address))
    written = recipient_parameters(asked)
    assert written.isascii()
    read = read_original_recipient(written.removeprefix(" ORCPT="))
    assert read == asked.orcpt


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("rfc822;Bob+2Bnews@X.example", "Bob+news@X.example"),
        ("utf-8;Jos\\x{E9}@x.example", "José@x.example"),
        ("UTF-8;José@x.example", "José@x.example"),
        ("x-fax;+2B4912", "+4912"),
    ],
)
def test_the_forms_of_an_original_recipient(text: str, address: str) -> None:
    assert read_original_recipient(text).address == address


@pytest.mark.parametrize(
    "text",
    [
        "bob@x.example",
        "rfc822;",
        ";bob@x.example",
        "rfc822;a+0Db@x.example",  # CR
        "rfc822;a+2b@x.example",  # lower-case hex
        "rfc822;a+2",
        "rfc822;" + "a" * 500,
        "utf-8;a\\x{0A}b",
        "utf-8;a\\x{110000}b",
        "utf-8;a\\x{D800}b",
        "utf-8;a+0Ab",
        "rfc822;josé@x.example",
    ],
)
def test_a_malformed_original_recipient_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        read_original_recipient(text)


def test_notify_is_a_list_or_never_alone() -> None:
    assert read_notify("success,Failure") == {Notify.SUCCESS, Notify.FAILURE}
    for wrong in ("NEVER,DELAY", "NEVER,NEVER", "", "SUCCESS,", "ALWAYS"):
        with pytest.raises(FormatError):
            read_notify(wrong)


def test_ret_and_envid_have_bounds() -> None:
    assert read_returned("hdrs") is Returned.HEADERS
    for reader, wrong in (
        (read_returned, "BODY"),
        (read_envelope_id, "a" * 101),
        (read_envelope_id, "a+00"),
    ):
        with pytest.raises(FormatError):
            reader(wrong)


def test_what_goes_along_to_the_next_hop_is_what_was_asked() -> None:
    asked = Asked(
        notify=frozenset({Notify.DELAY, Notify.SUCCESS}),
        orcpt=OriginalRecipient("rfc822", "Bob=x@x.example"),
    )
    request = DsnRequest(
        returned=Returned.FULL, envelope_id="Order +17", asked=(asked,)
    )
    assert mail_parameters(request) == " RET=FULL ENVID=Order+20+2B17"
    assert recipient_parameters(asked) == (
        " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+3Dx@x.example"
    )
    assert mail_parameters(DsnRequest(asked=())) == recipient_parameters(Asked()) == ""
