"""The documentation against the code: what it names exists, and what exists it names."""

from __future__ import annotations

import argparse
import configparser
import dataclasses
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_de_agent
from airflow_de_agent import cli
from airflow_de_agent.core.diagnosis import Category
from airflow_de_agent.core.plain import ACT, ELSEWHERE, RERUN, WAIT
from airflow_de_agent.settings import Settings
from docs import message_picture
from tests.test_render import check_snapshot

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), ROOT / "deployment" / "README.md"]
)
TEXTS = [*PAGES, ROOT / "requirements.txt"]
OPTIONS = {field.name: field for field in dataclasses.fields(Settings)}
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
REGISTRIES = re.compile("|".join((r"py" r"pi\.", r"python" r"hosted", r"npm" r"js\.", r"deb\." r"debian")))
OWN_MACHINE = re.compile(r"(?<![\w.~}])/(?:work|root|home|farm|tmp/bash_jobs)(?:/|\b)")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code(text: str) -> list[str]:
    """The lines of fenced blocks, and the inline code outside of them."""
    fenced = [line for block in FENCE.findall(text) for line in block.splitlines()[1:-1]]
    return fenced + re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def commands() -> dict[str, set[str]]:
    """The options of each command of `de-agent`, as its parser knows them."""
    parser = cli._parser()
    [sub] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: set(one._option_string_actions) for name, one in sub.choices.items()}


def calls(text: str) -> list[tuple[str, list[str]]]:
    """Each call of `de-agent` in code: the command, and the options up to the end of the call."""
    found = re.findall(r"\bde-agent ([^`|#\n]*)", "\n".join(code(text)))
    words = [re.sub(r"[,;)]", " ", call).split() for call in found]
    return [(call[0], [word for word in call[1:] if word.startswith("--")]) for call in words if call]


def examples(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each shown call of `de-agent` (or of python) that this repository alone can answer, with the lines shown."""
    blocks = (block.splitlines()[1:-1] for block in FENCE.findall(read(page)))
    for block in blocks:
        starts = [n for n, line in enumerate(block) if line.startswith("$ ")]
        for n, end in itertools.pairwise([*starts, len(block)]):
            if "tests/evals" in block[n] or "DE_AGENT_DRAIN=maybe" in block[n]:
                yield block[n][2:], [line for line in block[n + 1 : end] if line != "…"]


def without_seconds(text: str) -> str:
    return re.sub(r"answered after [\d.]+ s", "answered", text)


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings make, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_and_option_in_the_docs_exists(page: Path) -> None:
    """A call that a reader copies is one that the parser takes."""
    known = commands()
    for command, options in calls(read(page)):
        if command.startswith("-") or not re.fullmatch(r"[a-z]+", command):
            continue
        assert command in known, f"{page.name}: de-agent {command}"
        assert set(options) <= known[command], f"{page.name}: de-agent {command} {set(options) - known[command]}"


def test_every_command_and_its_options_are_documented() -> None:
    """The user guide tells of all that the parser takes, but for the floors of `eval`, which have a help text."""
    guide = read(ROOT / "docs" / "user_guide.md")
    told = {command for command, _ in calls(guide)}
    assert set(commands()) <= told, f"the user guide lacks {set(commands()) - told}"
    named = set(re.findall(r"(?<![\w-])--[a-z-]+", guide))
    for command, options in commands().items():
        missing = {option for option in options if option.startswith("--") and option != "--help"} - named
        missing = {option for option in missing if command != "eval" or not option.startswith(("--min", "--max"))}
        assert not missing, f"the user guide lacks {sorted(missing)} of de-agent {command}"


def test_the_table_of_options_is_complete() -> None:
    """The user guide has a row for each option: its name, its default and its help text, and no row more."""
    section = read(ROOT / "docs" / "user_guide.md").partition("\n## Options\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `\w+` \|.*$", section, re.MULTILINE)
    wanted = [option_row(name) for name in OPTIONS]
    missing = "\n".join(row for row in wanted if row not in rows)
    assert rows == wanted, f"docs/user_guide.md, Options: these rows are missing or out of place:\n{missing}"


def option_row(name: str) -> str:
    field = OPTIONS[name]
    default = f"`{field.default}`" if field.default != "" else "(empty)"
    return f"| `{name}` | {default} | {field.metadata['help']} |"


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_every_option_named_in_the_docs_exists(page: Path) -> None:
    """An option is named as in a file, a variable or an MWAA configuration option, and is one of ours."""
    text = read(page)
    named = re.findall(r"\[de_agent\] ([a-z]\w*)", text) + re.findall(r"(?<![\w/])de_agent\.([a-z]\w*)", text)
    named += [name.lower() for name in re.findall(r"(?:AIRFLOW__)?DE_AGENT__?([A-Z]\w*)", text) if name != "NAME"]
    assert set(named) <= set(OPTIONS), f"{page.name}: {set(named) - set(OPTIONS)}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link points to a file of the repository, and its anchor to a heading there."""
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", read(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(read(target)), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_path_named_as_code_exists(page: Path) -> None:
    """A file of this repository that the text names is there."""
    rooms = "airflow_de_agent|bench|deployment|docs|example_dags|plugins|tests"
    for name in re.findall(rf"(?<![\w/.-])(?:{rooms})/[\w./-]*\w", "\n".join(code(read(page)))):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_every_benchmark_is_in_the_readme() -> None:
    """Whoever wants a figure finds the command that prints it."""
    readme = read(ROOT / "README.md")
    assert [script.name for script in (ROOT / "bench").glob("*.py") if f"bench/{script.name}" not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_make_target_in_the_docs_exists(page: Path) -> None:
    """`make X` in the docs is a rule of the Makefile."""
    rules = set(re.findall(r"^([\w-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    named = {
        found
        for line in code(read(page))
        for found in re.findall(r"(?:^|\s)make ([a-z][\w-]*)", line.partition("#")[0])
    }
    assert named <= rules, f"{page.name}: {named - rules}"


def test_the_picture_of_the_slack_message_is_up_to_date() -> None:
    """It shows what it was drawn from; after a change run docs/message_picture.py too, and look at docs/message.png."""
    check_snapshot("picture", [message.blocks for message in message_picture.shown()])
    assert b"PNG" in (ROOT / "docs" / "message.png").read_bytes()[:8]


@pytest.mark.parametrize("page", [ROOT / "docs" / "user_guide.md", ROOT / "docs" / "training.md"], ids=page_id)
def test_an_example_prints_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    """A reader who types a call sees the lines of the page, in their order; `…` stands for others."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    rules = re.search(r"^```yaml\n(rules:\n.*?)^```", read(page), re.DOTALL | re.MULTILINE)
    (tmp_path / "rules.yaml").write_text(rules[1] if rules else "")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "AIRFLOW_HOME": str(tmp_path)}
    tried = 0
    for call, shown in examples(page):
        typed = call.replace("de-agent ", f"{sys.executable} -m airflow_de_agent.cli ")
        done = subprocess.run(
            ["bash", "-c", typed.replace("python -c", f"{sys.executable} -c")],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        printed = iter(without_seconds(done.stdout + done.stderr).splitlines())
        missing = [line for line in map(without_seconds, shown) if line not in printed]
        assert missing == [], f"{page.name}: {call}\nprints\n{done.stdout}{done.stderr}"
        tried += 1
    assert tried


def test_the_glossary_explains_every_category_and_verdict() -> None:
    """Each word that a message may begin with, or name as the cause's kind, has its row."""
    glossary = read(ROOT / "docs" / "glossary.md")
    words = [category.value for category in Category] + [verdict.word for verdict in (ACT, RERUN, WAIT, ELSEWHERE)]
    assert [word for word in words if f"| `{word}` |" not in glossary] == []


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_no_text_names_a_registry_or_a_path_of_one_machine(page: Path) -> None:
    """What holds only where it was written stays out."""
    assert not REGISTRIES.search(read(page)), f"{page.name} names a package registry's host"
    assert not OWN_MACHINE.search(read(page)), f"{page.name} names a path of one machine"


def test_requirements_are_those_of_the_package() -> None:
    """What requirements.txt installs beside Airflow's providers is what setup.cfg declares, with the same ranges."""
    package = configparser.ConfigParser()
    package.read(ROOT / "setup.cfg")
    declared = set(package["options"]["install_requires"].split())
    lines = [line for line in read(ROOT / "requirements.txt").splitlines() if line and not line.startswith("#")]
    assert {line for line in lines if not line.startswith("apache-airflow-providers-")} == declared


def test_the_changelog_tells_of_this_version() -> None:
    """The version of the package has an entry."""
    assert f"\n## {airflow_de_agent.__version__}" in read(ROOT / "CHANGELOG.md")
