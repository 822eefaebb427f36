"""`de-agent bundle mwaa`: the two files that bring the package into an Amazon MWAA environment.

MWAA unpacks plugins.zip into `PLUGINS` on each of its containers, and has pip install requirements.txt there. The wheel
is packed from the files of an installed package; a checkout is installed into a temporary directory first.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from airflow_de_agent.core.errors import DeAgentError

PLUGINS = "/usr/local/airflow/plugins"
_PACKAGE = "airflow_de_agent"
_DISTRIBUTION = "airflow-de-agent"
_SOURCES = ("pyproject.toml", "setup.cfg", "README.md", "LICENSE")
_OURS = re.compile(r"^[^#\n]*airflow[-_.]de[-_.]agent", re.IGNORECASE | re.MULTILINE)
_NEXT = """\
Next:
1. Upload both to the environment's S3 bucket. It takes one plugins.zip: if it has one, put the wheel into that instead.
2. Name both, with the versions that S3 gave them, in the environment:
   aws mwaa update-environment --name ENVIRONMENT \\
     --plugins-s3-path plugins.zip --plugins-s3-object-version VERSION \\
     --requirements-s3-path requirements.txt --requirements-s3-object-version VERSION"""
_NO_INDEX = """\
   Your requirements say --no-index: plugins.zip needs the wheels of all others in requirements.txt too."""


class Wheel(NamedTuple):
    """A wheel: its file's name, its version, the file, and the requirements that MWAA's pip must meet."""

    name: str
    version: str
    content: bytes
    needs: Sequence[str]


def run(arguments: argparse.Namespace) -> int:
    """Make `out`/plugins.zip and `out`/requirements.txt, and say what comes next.

    Raises:
        DeAgentError: a file given or in the way is not as it must be, or the package cannot be made a wheel.
        OSError: a file cannot be read or written.
    """
    own = _own_requirements(arguments.requirements) if arguments.requirements else ""
    plugins, requirements = arguments.out / "plugins.zip", arguments.out / "requirements.txt"
    _refuse_foreign(plugins, requirements)
    wheel = running_wheel()
    arguments.out.mkdir(parents=True, exist_ok=True)
    plugins.write_bytes(_zipped({wheel.name: wheel.content}))
    requirements.write_bytes((own + _lines(wheel, after=own)).encode())
    print(f"{plugins}: {wheel.name}\n{requirements}: {'yours, then ours' if own else 'ours'}\n{_NEXT}")
    if re.search(r"^\s*--no-index", own, re.MULTILINE):
        print(_NO_INDEX)
    return 0


def running_wheel() -> Wheel:
    """The package that runs here, as a wheel; the same files make the same bytes.

    Raises:
        DeAgentError: the package was not put here by pip or uv, or neither is there to build a checkout.
    """
    root = Path(__file__).parents[1]
    if not (root / "pyproject.toml").exists():
        return _packed(root)
    with tempfile.TemporaryDirectory() as directory:
        return _packed(_installed(root, Path(directory)))


def _own_requirements(path: Path) -> str:
    try:
        text = path.read_bytes().decode()  # line ends stay as they are
    except UnicodeDecodeError as exc:
        raise DeAgentError(f"{path} is not UTF-8 text: {exc}") from exc
    if found := _OURS.search(text):
        line = text.count("\n", 0, found.end()) + 1
        raise DeAgentError(f"{path}, line {line} names {_DISTRIBUTION} already; give the file without our lines")
    return text


def _refuse_foreign(plugins: Path, requirements: Path) -> None:
    """Nothing is written over an environment's own files, which bear the same names."""
    foreign = []
    if plugins.exists() and not (zipfile.is_zipfile(plugins) and _only_ours(plugins)):
        foreign.append(plugins)
    if requirements.exists() and not _OURS.search(requirements.read_text(errors="replace")):
        foreign.append(requirements)
    if foreign:
        raise DeAgentError(f"{' and '.join(map(str, foreign))}: not made by this command; choose another --out")


def _only_ours(plugins: Path) -> bool:
    with zipfile.ZipFile(plugins) as archive:
        return all(re.fullmatch(rf"{_PACKAGE}-[^/]+\.whl", name) for name in archive.namelist())


def _lines(wheel: Wheel, *, after: str) -> str:
    """Our part of requirements.txt. Without a constraint line MWAA applies the file of its own Airflow.

    The version is pinned, lest an index offer a higher one under our name.
    """
    apart = "\n" if after.endswith("\n") else "\n\n" if after else ""
    title = f"# {_DISTRIBUTION}, by `de-agent bundle mwaa`; its wheel is in plugins.zip"
    last = (f"--find-links {PLUGINS}", f"{_DISTRIBUTION}=={wheel.version}")
    return apart + "\n".join((title, *wheel.needs, *last)) + "\n"


def _installed(checkout: Path, directory: Path) -> Path:
    """Where a checkout was installed, from a copy: what earlier builds left in it may hold files deleted since."""
    source, target = directory / "source", directory / "target"
    shutil.copytree(checkout / _PACKAGE, source / _PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _SOURCES:
        shutil.copy(checkout / name, source)
    command = [*_installer(), "install", "--quiet", "--no-deps", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeAgentError(f"the checkout cannot be built:\n{done.stderr.strip()}")
    return target


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv", "pip"]
    raise DeAgentError(f"building a checkout needs pip or uv in {sys.executable}'s environment")


def _packed(root: Path) -> Wheel:
    found = list(importlib.metadata.distributions(name=_DISTRIBUTION, path=[str(root)]))
    record = found[0].read_text("RECORD") if found else None
    if not record:
        raise DeAgentError(f"{root} has no RECORD of {_DISTRIBUTION}: install it with pip or uv")
    names = [row[0] for row in csv.reader(record.splitlines()) if _in_wheel(row[0])]
    files = {name: (root / name).read_bytes() for name in sorted(names)}
    information = next(name.partition("/")[0] for name in files if name.endswith(".dist-info/METADATA"))
    files[f"{information}/RECORD"] = _record(files, f"{information}/RECORD")
    name = f"{information.removesuffix('.dist-info')}-py3-none-any.whl"
    return Wheel(name, found[0].version, _zipped(files), _needs(found[0].requires or ()))


def _in_wheel(name: str) -> bool:
    """Whether a wheel holds this file of an installed package; the rest was made, or tells of this machine."""
    room, _, rest = name.partition("/")
    if room.endswith(".dist-info"):
        return rest in ("METADATA", "WHEEL", "entry_points.txt", "top_level.txt") or rest.startswith("licenses/")
    return room == _PACKAGE and not name.endswith(".pyc")


def _needs(requires: Sequence[str]) -> list[str]:
    """Airflow's providers out of the extra `airflow`, then what the package itself requires."""
    providers = [line.partition(";")[0].strip() for line in requires if line.startswith("apache-airflow-providers-")]
    return providers + [line for line in requires if ";" not in line]


def _record(files: Mapping[str, bytes], own_name: str) -> bytes:
    """RECORD of a wheel: for each file its name, SHA-256 in unpadded base64, and size (packaging.python.org)."""
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{own_name},,\n"]).encode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip whose entries have no time of their own, so that MWAA's file changes only when its content does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()
