"""What becomes of our mail when somebody breaks our DNS."""

from shop.receipts import send_receipt


def test_mail_waits_while_our_records_are_gone(
    mail_settings, soboo_relay, soboo_sinks, soboo_dns
):
    for name in ("bounce", "sb1._domainkey", "sb2._domainkey", "sb3._domainkey"):
        soboo_dns.remove(f"{name}.shop.example")
    assert not soboo_relay.look_again("shop.example")

    send_receipt(mail_settings, order=21, to="ann@customer.test")
    soboo_relay.wait_for_waiting(to="ann@customer.test", state="held")

    soboo_dns.mend()
    assert soboo_relay.look_again("shop.example")
    soboo_sinks.wait_for(to="ann@customer.test").assert_dmarc()


def test_a_policy_we_do_not_meet_is_seen(soboo_verdicts):
    verdict = soboo_verdicts(
        b"From: orders@shop.example\r\nSubject: from a printer\r\n\r\nHello\r\n",
        mail_from="printer@office.example",
    )
    assert verdict.dmarc == "fail"
    assert not verdict.aligned
