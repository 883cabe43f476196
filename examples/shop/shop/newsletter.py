"""The newsletter: one message a reader, plain text and HTML, over one connection."""

from collections.abc import Iterable
from email.message import EmailMessage

from shop.backend import EmailBackend


def send_newsletter(backend: EmailBackend, readers: Iterable[str]) -> int:
    """Send this month's issue; return how many were taken."""
    return backend.send_messages(_issue(reader) for reader in readers)


def _issue(reader: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Shop News <news@news.shop.example>"
    message["To"] = reader
    message["Subject"] = "Grüße im Frühling"
    message.set_content("All the news: https://shop.example/news\n")
    message.add_alternative(
        '<h1>Spring</h1><p><a href="https://shop.example/news">All the news</a></p>',
        subtype="html",
    )
    return message
