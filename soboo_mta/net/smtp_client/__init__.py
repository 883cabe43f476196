"""The SMTP client over aiosmtplib; its exceptions are mapped to outcomes here alone."""

from soboo_mta.net.smtp_client.connector import ClientOptions, SmtpConnector

__all__ = ["ClientOptions", "SmtpConnector"]
