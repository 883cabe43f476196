"""Returns as peers write them, put together from parts."""

from base64 import b64encode

TOKEN = "b-" + "0a" * 20
ORIGINAL = (
    f"Return-Path: <{TOKEN}@bounce.acme.example>\r\n"
    "From: Acme <news@acme.example>\r\nTo: bob@there.example\r\nSubject: Hello\r\n"
    "Message-ID: <1@acme.example>\r\n\r\nThe body.\r\n"
)


def mail(body: str, **fields: str) -> bytes:
    """A message of one text part; fields by their names with _ for -."""
    head = {"From": "bob@there.example", "To": f"{TOKEN}@bounce.acme.example", **fields}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in head.items()]
    return "\r\n".join([*lines, "", body, ""]).encode()


def multipart(subtype: str, *parts: tuple[str, str], **fields: str) -> bytes:
    """`parts` are (fields of the part, body)."""
    lines = [f"--=b\r\n{head}\r\n\r\n{body}\r\n" for head, body in parts]
    return mail(
        "".join(lines) + "--=b--",
        MIME_Version="1.0",
        Content_Type=f'multipart/{subtype}; boundary="=b"',
        **fields,
    )


def dsn(fields: str, *, media: str = "message/delivery-status") -> bytes:
    return multipart(
        "report; report-type=delivery-status",
        ("Content-Type: text/plain", "It did not work."),
        (f"Content-Type: {media}", fields.replace("\n", "\r\n")),
        ("Content-Type: message/rfc822", ORIGINAL),
        From="Mail Delivery System <MAILER-DAEMON@mx.there.example>",
        Subject="Undelivered Mail Returned to Sender",
        Auto_Submitted="auto-replied",
    )


def attached(octets: bytes, *, media: str, name: str) -> bytes:
    return multipart(
        "mixed",
        ("Content-Type: text/plain", "A report."),
        (
            f'Content-Type: {media}; name="{name}"\r\n'
            "Content-Transfer-Encoding: base64\r\n"
            f'Content-Disposition: attachment; filename="{name}"',
            b64encode(octets).decode(),
        ),
        From="reports@mail.example",
        Subject="Report domain: acme.example",
    )
