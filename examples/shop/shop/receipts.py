"""Receipts, sent with smtplib one by one."""

import smtplib
from email.message import EmailMessage

from shop.settings import MailSettings


def send_receipt(settings: MailSettings, *, order: int, to: str) -> None:
    """Send the receipt of an order; raises smtplib.SMTPException."""
    message = EmailMessage()
    message["From"] = "The Shop <orders@shop.example>"
    message["To"] = to
    message["Subject"] = f"Your order {order}"
    message.set_content(
        f"Thank you!\n\nFollow it at https://shop.example/orders/{order}\n"
    )
    message.add_attachment(
        f"order {order}\n".encode(),
        maintype="application",
        subtype="pdf",
        filename=f"receipt-{order}.pdf",
    )
    with smtplib.SMTP(settings.host, settings.port, timeout=10) as client:
        client.login(settings.user, settings.password)
        client.send_message(message)
