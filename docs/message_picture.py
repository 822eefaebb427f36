"""Draw docs/message.png anew: a failure of our corpus as it looks in Slack, with its thread.

    .venv/dev/bin/python docs/message_picture.py

The blocks are made by the code that makes them for Slack; the page around them is our own. Needs Chromium
(tests/chromium.sh sees to that).
"""

from __future__ import annotations

import dataclasses
import html
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from airflow_de_agent.core import follow_up, render  # noqa: E402 - found by the line above
from airflow_de_agent.core.failure import TaskFailure, TaskKey  # noqa: E402
from airflow_de_agent.core.incident import Incident, Record  # noqa: E402
from airflow_de_agent.core.offline import diagnose_log, read_evidence  # noqa: E402
from airflow_de_agent.core.redaction import Redactor  # noqa: E402
from tests.view_host import chromium  # noqa: E402

CASE = ROOT / "tests" / "evals" / "c057"
OPENED = 1_795_230_912.0
QUESTION = "is it safe to rerun?"
WIDTH = 780
# drawn, as not every machine has a font of emoji
SIREN = (
    '<svg width="17" height="17" viewBox="0 0 20 20" style="vertical-align: -2px"><path fill="#d5322c" '
    'd="M4 15V9a6 6 0 0 1 12 0v6z"/><path fill="#555" d="M2 15h16v3H2z"/><path fill="#ffb3ae" d="M8 13V9h2v4z"/></svg>'
)
STYLE = """
body {margin: 0; padding: 14px 20px 18px; font: 15px/1.46 Lato, "Liberation Sans", Arial, sans-serif; color: #1d1c1d}
.message {display: grid; grid-template-columns: 44px 1fr; margin-bottom: 10px}
.face {width: 36px; height: 36px; border-radius: 6px; background: #1a4a7a; color: #fff; text-align: center;
       font: bold 15px/36px Arial, sans-serif}
.person {background: #8a6d3b}
.name {font-weight: 900} .app {font-size: 10px; background: #e8e8e8; padding: 1px 3px; border-radius: 2px}
.time, .context {font-size: 12px; color: #616061} .context {margin: 4px 0} .section {margin: 3px 0 7px}
code {font: 12px "DejaVu Sans Mono", monospace; color: #c01343; background: #f6f6f6; border: 1px solid #ddd;
      border-radius: 3px; padding: 1px 3px; overflow-wrap: anywhere}
a {color: #1264a3; text-decoration: none} button {font: bold 13px Arial, sans-serif; background: #fff; color: #1d1c1d;
   border: 1px solid #bbb; border-radius: 4px; padding: 5px 10px; margin: 4px 6px 4px 0}
.thread {border-top: 1px solid #ddd; margin: 4px 0 10px 44px; padding-top: 10px}
"""


def case() -> Record:
    """The case's failure, diagnosed by the rules from its log and the rows of Redshift."""
    label = json.loads(CASE.with_suffix(".json").read_text())
    key = TaskKey(label["dag_id"], label["run_id"], label["task_id"])
    failure = TaskFailure(
        key,
        "task",
        "2026-11-21T00:04:12+00:00",
        operator=label["operator"],
        log_url=f"https://airflow.example.com/dags/{key.dag_id}",
        downstream_task_ids=("publish", "report"),
    )
    redact = Redactor().redact
    evidence = read_evidence(label["evidence"], redact)
    diagnosis, _ = diagnose_log([CASE.with_suffix(".log").read_bytes()], failure, evidence, redact=redact)
    return Record(failure, dataclasses.replace(diagnosis, seconds=1.4), "f1", OPENED)


def marked_up(text: str) -> str:
    """Slack's own markup as HTML."""
    shown = html.escape(html.unescape(re.sub(r"<(https?://[^|>]+)\|([^>]*)>", "\0\\2\1", text)))
    shown = shown.replace("\0", "<a>").replace("\1", "</a>")
    shown = shown.replace(":rotating_light:", SIREN)
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", shown)
    return re.sub(r"\*([^*]+)\*", r"<b>\1</b>", shown).replace("\n", "<br>")


def drawn(block: dict[str, Any]) -> str:
    """One block as HTML."""
    if block["type"] == "section":
        return f'<div class="section">{marked_up(block["text"]["text"])}</div>'
    if block["type"] == "actions":
        return "".join(f"<button>{html.escape(one['text']['text'])}</button>" for one in block["elements"])
    return "".join(f'<div class="context">{marked_up(one["text"])}</div>' for one in block["elements"])


def said(message: render.Message, at: str) -> str:
    """A message of the app."""
    head = f'<span class="name">DE-Agent</span> <span class="app">APP</span> <span class="time">{at}</span>'
    body = "".join(map(drawn, message.blocks))
    return f'<div class="message"><div class="face">DE</div><div>{head}{body}</div></div>'


def asked(at: str) -> str:
    """A person's question."""
    head = f'<span class="name">Ana</span> <span class="time">{at}</span>'
    body = f'<div class="section"><a>@DE-Agent</a> {QUESTION}</div>'
    return f'<div class="message"><div class="face person">A</div><div>{head}{body}</div></div>'


def shown() -> tuple[render.Message, ...]:
    """The message of an incident, the details in its thread, and the answer to a question there."""
    record = case()
    incident = Incident(record.id, "f1", record.id, OPENED, OPENED, count=12, helpful=2)
    answer = follow_up.answer(QUESTION, record, incident, ())
    return render.message(record, incident), render.details(record, incident), answer


def page() -> str:
    """The channel's message and its thread."""
    message, details, answer = shown()
    thread = said(details, "00:04") + asked("00:09") + said(answer, "00:09")
    return f'<style>{STYLE}</style>{said(message, "00:04")}<div class="thread">{thread}</div>'


def main() -> None:
    """Write the picture."""
    with chromium() as browser:
        sheet = browser.new_page(viewport={"width": WIDTH, "height": 200})
        sheet.set_content(page())
        sheet.screenshot(path=ROOT / "docs" / "message.png", full_page=True)


if __name__ == "__main__":
    main()
