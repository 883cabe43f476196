"""The operator's file and syslog: what was reported as written is there, once a line."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from soboo_mta.events.outbox.form import ToldEvent
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.net.outlets.lines import LineFile
from soboo_mta.net.outlets.syslog import Syslog, SyslogTarget

HOST = Domain("mta1.esp.example")


def _event(number: int, reply: str = "250 ok") -> ToldEvent:
    return ToldEvent(
        event_id=f"evt_{number}",
        type="delivered",
        at=1_767_225_600_123,
        tenant=TenantId("acme"),
        message=MessageId(number),
        own={"reply": reply},
    )


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LineFile]:
    with closing(LineFile(tmp_path / "events.jsonl")) as made:
        yield made


def _ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_each_event_is_a_line_for_its_owner_alone(
    file: LineFile, tmp_path: Path
) -> None:
    file.write([_event(1), _event(2, "550 Grüße\n\x00")])
    file.write([_event(3)])
    path = tmp_path / "events.jsonl"
    assert _ids(path) == ["evt_1", "evt_2", "evt_3"]
    assert path.read_bytes().isascii()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_moved_or_removed_is_begun_anew(
    file: LineFile, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    file.write([_event(1)])
    path.rename(tmp_path / "events.jsonl.1")
    file.write([_event(2)])
    path.unlink()
    file.write([_event(3)])
    assert _ids(tmp_path / "events.jsonl.1") == ["evt_1"]
    assert _ids(path) == ["evt_3"]


def test_after_half_a_line_the_next_one_is_whole(
    file: LineFile, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"id":"evt_0"}\n{"id":"evt')
    file.write([_event(1)])
    assert path.read_text().splitlines()[:2] == ['{"id":"evt_0"}', '{"id":"evt']
    assert json.loads(path.read_text().splitlines()[2])["id"] == "evt_1"


def test_a_file_that_cannot_be_written_is_an_error_and_tried_again(
    file: LineFile, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        file.write([_event(1)])
    path.rmdir()
    file.write([_event(1)])
    assert _ids(path) == ["evt_1"]


_LINE = re.compile(
    rb"<22>1 2026-01-01T00:00:00\.123Z mta1\.esp\.example soboo-mta - delivered - (\{.+\})"
)


def test_a_local_socket_gets_messages_of_rfc_5424(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server,
        closing(Syslog(SyslogTarget.parse(path), host_name=HOST)) as syslog,
    ):
        server.bind(path)
        syslog.write([_event(1)])
        found = _LINE.fullmatch(server.recv(65_536))
        assert found is not None
        assert json.loads(found[1])["id"] == "evt_1"


def test_udp_gets_a_datagram_each() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        target = SyslogTarget.parse(f"udp:127.0.0.1:{server.getsockname()[1]}")
        with closing(Syslog(target, host_name=HOST)) as syslog:
            syslog.write([_event(1), _event(2)])
            for number in (1, 2):
                found = _LINE.fullmatch(server.recv(65_536))
                assert found is not None
                assert json.loads(found[1])["id"] == f"evt_{number}"


def test_tcp_counts_octets_and_comes_again_after_a_close() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        target = SyslogTarget.parse(f"tcp:127.0.0.1:{port}")
        with closing(Syslog(target, host_name=HOST)) as syslog:
            for number in (1, 2):
                writing = threading.Thread(
                    target=syslog.write, args=([_event(number)],)
                )
                writing.start()
                peer, _ = server.accept()
                writing.join(5)
                received = peer.recv(65_536)
                count, _, message = received.partition(b" ")
                assert int(count) == len(message)
                found = _LINE.fullmatch(message)
                assert found is not None
                assert json.loads(found[1])["id"] == f"evt_{number}"
                peer.close()  # the next one needs a connection of its own


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    syslog = Syslog(SyslogTarget.parse(str(tmp_path / "none")), host_name=HOST)
    with pytest.raises(FileNotFoundError):
        syslog.write([_event(1)])


@pytest.mark.parametrize(
    "text", ["/dev/log", "udp:192.0.2.1:514", "tcp:192.0.2.1:601", "tcp:[::1]:601"]
)
def test_a_place_of_syslog_is_written_as_it_is_read(text: str) -> None:
    assert str(SyslogTarget.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "dev/log", "udp:192.0.2.1", "udp:host:514", "tcp:1.2.3.4:0", "udp:1.2:5"],
)
def test_another_place_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        SyslogTarget.parse(text)
