"""The example project's tests pass with nothing but the built package: no source tree."""

import asyncio
import os
import shutil
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def test_the_example_runs_its_tests_with_the_built_package(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    for name in ("soboo_mta", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name if copy is shutil.copytree else _made(source))
    await run(
        tmp_path,
        *("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--no-index", "--wheel-dir", str(tmp_path), str(source)),
    )
    shutil.rmtree(source)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "packages")
    project = shutil.copytree(ROOT / "examples" / "shop", tmp_path / "shop")
    (project / "tests" / "test_where.py").write_text(
        "import soboo_mta\n\n\ndef test_it_is_the_built_package():\n"
        f"    assert soboo_mta.__file__.startswith({str(tmp_path)!r})\n"
    )
    said = await run(
        project,
        *("-P", "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-p"),
        *("no:asyncio", "--rootdir", str(project), "-rA", "-o", "addopts="),
        packages=f"{tmp_path / 'packages'}{os.pathsep}{project}",
    )
    assert "12 passed" in said, said


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


async def run(directory: Path, *words: str, packages: str = "") -> str:
    """Run this Python in `directory`, with `packages` before its own; return the output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": packages},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()
