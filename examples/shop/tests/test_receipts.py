"""Receipts arrive, and what happens when they do not at once."""

from shop.receipts import send_receipt


def test_a_receipt_arrives_with_its_link_and_attachment(mail_settings, soboo_sinks):
    send_receipt(mail_settings, order=17, to="ann@customer.test")

    message = soboo_sinks.wait_for(to="ann@customer.test")
    assert message.subject == "Your order 17"
    assert message.links == ("https://shop.example/orders/17",)
    (receipt,) = message.attachments
    assert (receipt.name, receipt.octets) == ("receipt-17.pdf", b"order 17\n")


def test_a_receipt_is_signed_and_aligned(mail_settings, soboo_sinks):
    send_receipt(mail_settings, order=18, to="ann@customer.test")

    message = soboo_sinks.wait_for(to="ann@customer.test")
    message.assert_dkim(domain="shop.example")
    message.assert_spf(domain="bounce.shop.example")
    message.assert_dmarc()


def test_a_busy_host_gets_the_receipt_later(mail_settings, soboo_sinks):
    soboo_sinks.defer("ann@busy.test", "451 4.3.2 Busy", times=1)

    send_receipt(mail_settings, order=19, to="ann@busy.test")

    soboo_sinks.wait_for(to="ann@busy.test").assert_dmarc()
    assert [refused.reply for refused in soboo_sinks.refusals] == ["451 4.3.2 Busy"]


def test_an_unknown_customer_gets_nothing_and_is_not_tried_again(
    mail_settings, soboo_relay, soboo_sinks
):
    soboo_sinks.refuse("gone@customer.test", "550 5.1.1 No such user")

    send_receipt(mail_settings, order=20, to="gone@customer.test")

    soboo_sinks.wait_for_refusal(to="gone@customer.test")
    soboo_relay.wait_until_settled(to="gone@customer.test")
    soboo_sinks.assert_nothing_for("gone@customer.test")
    assert len(soboo_sinks.refusals) == 1
