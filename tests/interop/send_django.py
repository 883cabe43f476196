"""Sends one message through Django's mail backend: port, security (clear, starttls or
implicit), user, password, From, To."""

import sys

import django
from django.conf import settings
from django.core.mail import EmailMultiAlternatives

port, security, user, password, author, to = sys.argv[1:7]
settings.configure(
    EMAIL_HOST="localhost",
    EMAIL_PORT=int(port),
    EMAIL_HOST_USER=user,
    EMAIL_HOST_PASSWORD=password,
    EMAIL_USE_TLS=security == "starttls",
    EMAIL_USE_SSL=security == "implicit",
    DEFAULT_CHARSET="utf-8",
)
django.setup()
message = EmailMultiAlternatives("Django: grüße", "plain äöü", author, [to])
message.attach_alternative("<p>Grüße</p>", "text/html")
message.attach("a.txt", "x" * 2000, "text/plain")
sys.exit(0 if message.send() == 1 else 1)
