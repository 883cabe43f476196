"""Wheel and source archive: built, installed away from the tree, and run there."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import soboo_mta

HOUSE = Path(__file__).parents[2]


def run(*words: str | Path, cwd: Path, **more: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), **more}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind: str, tree: Path, out: Path) -> Path:
    """Build by the backend that pyproject.toml names; return the archive."""
    out.mkdir(exist_ok=True)
    code = (
        "import sys; from setuptools import build_meta as b;"
        f"print(b.build_{kind}(sys.argv[1]))"
    )
    name = run(sys.executable, "-c", code, out, cwd=tree).split()[-1]
    return out / name


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone has: the files that git knows."""
    place = tmp_path_factory.mktemp("tree")
    files = subprocess.check_output(["git", "ls-files", "-z"], cwd=HOUSE)
    archive = subprocess.run(
        ["tar", "--null", "-T", "-", "-cf", "-"],
        cwd=HOUSE,
        input=files,
        capture_output=True,
        check=True,
    )
    subprocess.run(["tar", "-xf", "-"], cwd=place, input=archive.stdout, check=True)
    return place


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tree, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_file_of_the_package(tree: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {n for n in archive.namelist() if ".dist-info/" not in n}
    there = {
        str(file.relative_to(tree))
        for file in (tree / "soboo_mta").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert inside == there


def test_the_source_archive_builds_the_same_wheel(
    tree: Path, wheel: Path, tmp_path: Path
) -> None:
    source = build("sdist", tree, tmp_path)
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (unpacked,) = (tmp_path / "source").iterdir()
    again = build("wheel", unpacked, tmp_path / "again")
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        names = [n for n in one.namelist() if not n.endswith("/RECORD")]
        assert set(one.namelist()) == set(other.namelist())
        assert all(one.read(name) == other.read(name) for name in names)


def test_the_wheel_runs_away_from_the_tree(wheel: Path, tmp_path: Path) -> None:
    """The main job, end to end, by nothing but what the wheel brought."""
    place = tmp_path / "site"
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
        *("--no-index", "--target", place, wheel),
        cwd=tmp_path,
    )
    version = run(
        place / "bin" / "soboo-mta", "version", cwd=tmp_path, PYTHONPATH=str(place)
    )
    assert version.strip().endswith(soboo_mta.__version__)
    where = "import soboo_mta; print(soboo_mta.__file__)"
    found = run(sys.executable, "-c", where, cwd=tmp_path, PYTHONPATH=str(place))
    assert found.strip() == str(place / "soboo_mta" / "__init__.py")
    told = run(
        *(sys.executable, "-m", "soboo_mta", "demo"),
        cwd=tmp_path,
        PYTHONPATH=str(place),
    )
    assert "delivered" in told
