"""`de-agent bundle mwaa`: made from this checkout, and again from what its wheel installs."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from airflow_de_agent.cli import main

ROOT = Path(__file__).parents[1]
UV = ROOT / ".venv" / "uv" / "bin" / "uv"
POINTS = "from importlib.metadata import entry_points; print(*sorted(p.name for p in entry_points(group='{}')))"


def call(*command: object, cwd: Path) -> str:
    """Run to the end, with nothing of this process's environment that could lead to the checkout; standard output."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd, env=kept)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files, made from this checkout."""
    out = tmp_path_factory.mktemp("bundle") / "dist" / "mwaa"
    assert main(["bundle", "mwaa", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def installed(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment that has only the wheel, as plugins.zip unpacks it."""
    room = tmp_path_factory.mktemp("mwaa")
    zipfile.ZipFile(bundle / "plugins.zip").extractall(room / "plugins")
    call(UV, "venv", "--quiet", "--python", ROOT / ".venv/dev/bin/python", room / "venv", cwd=room)
    wanted = (bundle / "requirements.txt").read_text().splitlines()[-1]
    where = ("--no-deps", "--no-index", "--find-links", room / "plugins")
    call(UV, "pip", "install", "--quiet", "--python", room / "venv/bin/python", *where, wanted, cwd=room)
    return room / "venv" / "bin"


def test_the_wheel_holds_the_package_as_it_is(bundle: Path, tmp_path: Path) -> None:
    """Each file of the package is in the wheel, byte for byte, and none that an earlier build left behind."""
    with zipfile.ZipFile(bundle / "plugins.zip") as plugins:
        [name] = plugins.namelist()
        wheel = zipfile.ZipFile(plugins.extract(name, tmp_path))
    packed = {name: wheel.read(name) for name in wheel.namelist() if name.startswith("airflow_de_agent/")}
    files = (path for path in (ROOT / "airflow_de_agent").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert packed == {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}


def test_the_installed_wheel_has_its_entry_points_and_works(installed: Path, tmp_path: Path) -> None:
    """With pip's own means MWAA gets the policy, the plugin, the provider, and a command that diagnoses."""
    package = configparser.ConfigParser()
    package.read(ROOT / "setup.cfg")
    for group, lines in package["options.entry_points"].items():
        names = sorted(line.partition("=")[0].strip() for line in lines.strip().splitlines())
        assert call(installed / "python", "-c", POINTS.format(group), cwd=tmp_path).split() == names
    log = ROOT / "tests" / "evals" / "c001.log"
    assert "sql error, permanent" in call(installed / "de-agent", "diagnose", "--offline", "--log", log, cwd=tmp_path)
    call(
        installed / "python", "-c", "import airflow_de_agent.airflow.provider as p; p.get_provider_info()", cwd=tmp_path
    )


def test_an_installed_package_makes_the_same_files(bundle: Path, installed: Path, tmp_path: Path) -> None:
    """Whoever has no checkout gets, to the byte, what one with a checkout gets: nothing of his machine is in it."""
    call(installed / "de-agent", "bundle", "mwaa", cwd=tmp_path)
    for name in ("plugins.zip", "requirements.txt"):
        assert (tmp_path / "dist" / "mwaa" / name).read_bytes() == (bundle / name).read_bytes()


def test_the_requirements_are_those_of_the_repository_with_the_last_lines_on(bundle: Path) -> None:
    """requirements.txt asks for what the repository's own does, then for the wheel; no line sets constraints."""
    made = (bundle / "requirements.txt").read_text()
    *needs, find_links, ours = [line for line in made.splitlines() if not line.startswith("#")]
    *_, last_but_one, last = kept = (ROOT / "requirements.txt").read_text().splitlines()
    assert find_links == last_but_one.removeprefix("# ") and ours.startswith(last.removeprefix("# ") + "==")
    wanted = [Requirement(line) for line in kept if line and not line.startswith("#")]
    assert [Requirement(line) for line in needs] == wanted
    assert not re.search("-c |--constraint ", made)  # MWAA looks for these, even in comments


@pytest.mark.parametrize("end", ["\n", ""], ids=["ended", "not ended"])
def test_ones_own_requirements_stay_line_for_line(
    end: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The environment's lines come first, untouched; `--no-index` among them is answered with a warning."""
    own = f"--no-index\r\n# airflow-de-agent is to come\r\npandas==2.1.4  # größer\r\n\r\ndbt-core{end}".encode()
    (tmp_path / "own.txt").write_bytes(own)
    for _ in range(2):  # a second time over its own files
        assert main(["bundle", "mwaa", "--requirements", str(tmp_path / "own.txt"), "--out", str(tmp_path)]) == 0
    ended = own if end else own + b"\n"
    assert (tmp_path / "requirements.txt").read_bytes() == ended + b"\n" + (bundle / "requirements.txt").read_bytes()
    assert "--no-index: plugins.zip needs the wheels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (b"pandas\nAirflow_DE.Agent==0.0.9\n", "own.txt, line 2 names airflow-de-agent already"),
        ("pandas\n".encode("utf-16"), "own.txt is not UTF-8"),
        (None, "No such file"),
    ],
    ids=["ours in it", "another encoding", "absent"],
)
def test_requirements_that_cannot_be_added_to_are_refused(
    own: bytes | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says which file and line, and nothing is made."""
    if own is not None:
        (tmp_path / "own.txt").write_bytes(own)
    out = tmp_path / "out"
    assert main(["bundle", "mwaa", "--requirements", str(tmp_path / "own.txt"), "--out", str(out)]) == 1
    assert why in capsys.readouterr().err
    assert not out.exists()


def test_files_that_are_not_ours_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An environment's own plugins.zip and requirements.txt survive an `--out` that points at them."""
    with zipfile.ZipFile(tmp_path / "plugins.zip", "w") as plugins:
        plugins.writestr("operators/own.py", "")
    (tmp_path / "requirements.txt").write_text("pandas\n")
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    own = str(tmp_path / "requirements.txt")
    assert main(["bundle", "mwaa", "--requirements", own, "--out", str(tmp_path)]) == 1
    assert "plugins.zip and" in capsys.readouterr().err
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


@pytest.mark.parametrize(
    ("python", "project", "why"),
    [
        ("fresh", None, "has no RECORD of airflow-de-agent: install it with pip or uv"),
        ("fresh", "[project]", "building a checkout needs pip or uv"),
        ("dev", "[project]", "the checkout cannot be built:\n"),
    ],
    ids=["copied", "no builder", "broken"],
)
def test_a_package_that_cannot_become_a_wheel_says_why(
    python: str, project: str | None, why: str, installed: Path, tmp_path: Path
) -> None:
    """Where there is neither an installed package nor a checkout that can be built, the error names what is missing."""
    shutil.copytree(ROOT / "airflow_de_agent", tmp_path / "airflow_de_agent")
    if project is not None:
        for name in ("setup.cfg", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, tmp_path)
        (tmp_path / "pyproject.toml").write_text(project)
    program = installed / "python" if python == "fresh" else ROOT / ".venv" / "dev" / "bin" / "python"
    command = [str(program), "-m", "airflow_de_agent.cli", "bundle", "mwaa"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "dist").exists()
