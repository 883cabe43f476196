"""docker-compose.yml and Dockerfile, checked without an engine: every path, port, variable
and command in them is one that exists. What needs real servers is in tests/interop.
"""

import json
import re
import shlex
from pathlib import Path, PurePosixPath

import pytest
import typer
import yaml
from typer.core import TyperGroup

from soboo_mta.cli.app import app
from soboo_mta.settings import Settings, load

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
ENVIRONMENT = dict(
    line.split("=", 1)
    for line in (ROOT / "config/compose/env.example").read_text().splitlines()
    if line and not line.startswith("#")
)


def interpolated(text: str) -> str:
    """Put in `${NAME}`, `${NAME:-default}` and `${NAME:?message}` as compose does."""

    def value(found: re.Match[str]) -> str:
        name, default = found["name"], found["default"]
        return ENVIRONMENT.get(name, default or "")

    return re.sub(r"\$\{(?P<name>\w+)(?::[-?](?P<default>[^}]*))?\}", value, text)


SERVICES = yaml.safe_load(interpolated(COMPOSE))["services"]
VOLUMES = yaml.safe_load(COMPOSE)["volumes"]


def mounts(service: str) -> dict[str, str]:
    """What is mounted, by where in the container."""
    pairs = [one.split(":")[:2] for one in SERVICES[service].get("volumes", ())]
    return {target: source for source, target in pairs}


def relay_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in SERVICES["relay"]["environment"].items():
        monkeypatch.setenv(name, value)
    return load(ROOT / mounts("relay")["/etc/soboo-mta/soboo.toml"])


def parses(words: list[str]) -> bool:
    command = typer.main.get_command(app)
    context = typer.Context(command)
    while isinstance(command, TyperGroup) and words and words[0][0] != "-":
        below = command.get_command(context, words[0])
        if below is None:
            return False
        command, words = below, words[1:]
    command.make_context("it", list(words))
    return True


def test_every_variable_has_an_example_and_every_example_is_used() -> None:
    assert set(re.findall(r"\$\{(\w+)", COMPOSE)) == set(ENVIRONMENT)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_what_is_mounted_exists(service: str) -> None:
    for source in mounts(service).values():
        if source.startswith("./"):
            assert (ROOT / source).exists()
        else:
            assert source in VOLUMES


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_waits_for_ones_that_can_become_what_it_waits_for(
    service: str,
) -> None:
    for other, wanted in SERVICES[service].get("depends_on", {}).items():
        if wanted["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert wanted["condition"] == "service_completed_successfully"
            assert "restart" not in SERVICES[other]


def test_the_relays_settings_load_with_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = relay_settings(monkeypatch)
    assert f"@{'store'}/" in settings.store_url
    assert settings.operator.domain == ENVIRONMENT["OPERATOR_DOMAIN"]
    assert settings.sources[0].ehlo_name == ENVIRONMENT["RELAY_HOST"]


def test_ports_that_are_published_are_listened_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = relay_settings(monkeypatch)
    doors = (settings.listeners, settings.http_listeners, settings.return_listeners)
    listening = {one.port for listeners in doors for one in listeners}
    published = {int(one.split(":")[1]) for one in SERVICES["relay"]["ports"]}
    assert published == listening
    asked = SERVICES["relay"]["healthcheck"]["test"][-1]
    assert f"127.0.0.1:{settings.monitoring.port}/readyz" in asked
    knot = (ROOT / "config/compose/knot.conf").read_text()
    for one in SERVICES["knot"]["ports"]:
        assert f"@{one.split(':')[1].split('/')[0]}" in knot


def test_files_that_settings_name_lie_in_volumes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = relay_settings(monkeypatch)
    places = [PurePosixPath(target) for target in mounts("relay")]
    for path in (
        settings.tls.certificate_file,
        settings.tls.private_key_file,
        settings.secrets.master_key_file,
        settings.server.data_directory,
    ):
        assert any(PurePosixPath(path).is_relative_to(place) for place in places), path


def test_the_relay_reads_the_certificate_where_caddy_writes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert mounts("relay")["/certificates"] == mounts("caddy")["/data"]
    settings = relay_settings(monkeypatch)
    relative = PurePosixPath(settings.tls.certificate_file).relative_to("/certificates")
    assert SERVICES["caddy"]["healthcheck"]["test"][-1] == str(
        PurePosixPath("/data") / relative
    )
    caddyfile = (ROOT / "config/compose/Caddyfile").read_text()
    assert f"storage file_system /data/{relative.parts[0]}" in caddyfile
    named = set(re.findall(r"\{\$(\w+)\}", caddyfile))
    assert named <= set(SERVICES["caddy"]["environment"])


def test_commands_of_our_image_parse() -> None:
    command = json.loads(re.search(r"(?m)^CMD (.+)$", DOCKERFILE)[1])
    assert parses(command)
    for service in SERVICES.values():
        if service.get("image") == "soboo-mta" and "command" in service:
            words = service["command"]
            assert parses(shlex.split(words) if isinstance(words, str) else words)


def test_the_image_copies_files_that_exist_and_are_not_ignored() -> None:
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", DOCKERFILE)
    names = {name for line in copied for name in line.split()}
    assert names
    assert all((ROOT / name).exists() for name in names)
    assert names == kept


def test_the_images_python_is_one_that_the_package_takes() -> None:
    versions = re.findall(r"(?m)^FROM python:(\d+)\.(\d+)-slim", DOCKERFILE)
    assert len(set(versions)) == 1
    assert tuple(map(int, versions[0])) >= (3, 11)


def test_the_images_lock_is_part_of_the_developers() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"(?m)^(\S+==\S+)", (ROOT / name).read_text()))

    assert pins("requirements-run.lock") < pins("requirements.lock")
