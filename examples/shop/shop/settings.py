"""Where mail goes out, as a URL: smtp://user:password@host:port."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class MailSettings:
    host: str
    port: int
    user: str
    password: str

    @classmethod
    def from_url(cls, url: str) -> "MailSettings":
        parts = urlsplit(url)
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or 587,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
        )
