"""The settings of a relay that lives with a lab on loopback: quick to try again."""

import json
from collections.abc import Sequence
from pathlib import Path

OPERATOR = "esp.example"
_TEXT = """\
[server]
data_directory = "{data}"
workers = {workers}

[secrets]
master_key_file = "{data}/master.key"

[operator]
domain = "esp.example"
mx_hosts = ["mx.esp.example"]

[[listeners]]
address = "127.0.0.1"
port = {port}
tls = "none"

[[sources]]
name = "default"
public_address = "127.0.0.1"
ehlo_name = "mta1.esp.example"

[dns]
resolvers = ["127.0.0.1:{dns}"]
authoritative_port = {dns}

[delivery]
port = {smtp}
private_destinations = true
shortest_ttl = "1s"

[retry]
steps = {retry}
greylisted = "1s"

[onboarding]
shortest = "1s"
while_broken = "1s"
"""


def loopback_settings(
    *,
    data: Path,
    port: int,
    dns: int,
    smtp: int,
    retry: Sequence[str],
    workers: int = 0,
) -> str:
    """Return the file. `dns` and `smtp` are the lab's ports; `retry` are the steps after
    which a recipient is tried again."""
    return _TEXT.format(
        data=data,
        port=port,
        dns=dns,
        smtp=smtp,
        workers=workers,
        retry=json.dumps(list(retry)),
    )
