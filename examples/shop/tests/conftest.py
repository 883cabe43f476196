import pytest
from shop.settings import MailSettings


@pytest.fixture
def mail_settings(soboo_relay) -> MailSettings:
    """The application's settings, with the relay that the plugin started."""
    return MailSettings.from_url(soboo_relay.url)
