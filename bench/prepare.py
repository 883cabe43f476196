"""Make a relay ready for the bench rig: config, tenant, domain and the rig's own key.

    python bench/prepare.py DIRECTORY PORT WORKERS KEY

Everything is routed to the rig's sink; policy, VERP, signature and events are on, the
store is synced. The domain is assumed verified, which the settings allow because the
only route ends on loopback.
"""

import shutil
import subprocess
import sys
from pathlib import Path

CONFIG = """\
[server]
data_directory = "{directory}"
workers = {workers}

[secrets]
master_key_file = "{directory}/master.key"

[operator]
domain = "esp.example"
mx_hosts = ["mx.esp.example"]

[[listeners]]
address = "127.0.0.1"
port = {port}
tls = "none"

[submission]
trusted_networks = ["127.0.0.0/8"]

[[sources]]
name = "default"
public_address = "127.0.0.1"
ehlo_name = "mta1.esp.example"

[dns]
resolvers = ["127.0.0.1:9"]

[delivery]
private_destinations = true
connections_per_site = {connections}

[[routes]]
domain = "*"
next_hop = "127.0.0.1:26025"
"""
TENANTS = """\
[[tenant]]
id = "bench"
name = "Bench"

[[tenant.domain]]
name = "example.com"
mode = "cname"
selectors = ["sb1", "sb2", "rig"]
assume_verified = true
"""


def main(directory: Path, port: str, workers: str, key: str) -> None:
    """Build the directory anew and run the commands an operator would run."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config = directory / "soboo.toml"
    config.write_text(
        CONFIG.format(directory=directory, port=port, workers=workers, connections=40)
    )
    tenants = directory / "tenants.toml"
    tenants.write_text(TENANTS)
    relay = [sys.executable, "-m", "soboo_mta"]
    for words in (
        ["secret", "generate"],
        ["apply", "-f", str(tenants)],
        ["key", "import", "example.com", "--selector", "rig", "--file", key],
        ["key", "rotate", "example.com"],
    ):
        command = [*relay, *words, "--config", str(config)]
        subprocess.run(command, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5])
