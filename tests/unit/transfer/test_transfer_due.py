"""When a sender is told: an answer on its way home has a reverse-path, and yet no sender."""

from dataclasses import replace
from datetime import timedelta

import pytest

from soboo_mta.mail.address import parse_reverse_path
from soboo_mta.mail.ids import DomainId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.returned import Action
from soboo_mta.mail.spooled import Claimed
from soboo_mta.transfer.reporting.due import ReportPolicy, action_due
from tests.fakes.connector import a_message

_SAID = reply(451, "4.7.1", "busy")


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Deferred(reply=_SAID, reason=Reason.REPLY, scope=Scope.RECIPIENT), None),
        (Delivered(reply=reply(250, "2.0.0", "ok")), None),
        (
            Failed(reply=_SAID, reason=Reason.LIFETIME, scope=Scope.RECIPIENT),
            Action.FAILED,  # which becomes an event
        ),
    ],
)
def test_what_goes_home_is_told_of_where_it_fails_alone(
    outcome: Outcome, told: Action | None
) -> None:
    path = parse_reverse_path("replies@esp.example")
    message = replace(a_message(), reverse_path=path, domain_id=DomainId(-1))
    due = action_due(
        Claimed(message=message, position=0, attempts=1),
        outcome,
        asked_on=False,
        waited=timedelta(days=1),
        policy=ReportPolicy(warn_of_delay=True),
    )
    assert due is told
