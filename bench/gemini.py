"""What the model's part costs beside the model: size of the prompt, our own time around an answer, imports.

``.venv/dev/bin/python bench/gemini.py [CORPUS_DIR]`` (default: tests/evals). The service is the local stand-in, which
answers at once; the bare POST beside our call is the same request over http.client, so the ratio is ours.
"""

from __future__ import annotations

import functools
import http.client
import json
import statistics
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from airflow_de_agent import evals
from airflow_de_agent.adapters import gemini
from airflow_de_agent.core import prompt as prompts
from airflow_de_agent.core.answer import SCHEMA_WITH_TOOLS
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.offline import diagnose_log, from_log, read_evidence
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.core.second_opinion import second_opinion
from tests.gemini_server import KEY, GeminiServer

ROOT = Path(__file__).parents[1]


def cases(directory):
    for path in sorted(directory.glob("*.json")):
        label = json.loads(path.read_text())
        redact = Redactor().redact
        evidence = read_evidence(label.get("evidence") or {}, redact)
        log_path = path.with_suffix(".log") if path.with_suffix(".log").exists() else path.with_suffix(".log.gz")
        failure = TaskFailure(TaskKey(label["dag_id"], "run", label["task_id"]), "cli", "2026-11-22T00:00:00+00:00")
        rules, log = diagnose_log(evals.read_log(log_path), failure, evidence, redact=redact)
        yield label, failure, (*from_log(log)[:1], *evidence), rules


def bare(text):
    return "".join(char for char in text.replace("\\n", "") if char.isalnum())


def sizes(found):
    schema = prompts.tokens(json.dumps(SCHEMA_WITH_TOOLS))
    built = [(label, prompts.build(*rest, may_look_further=True)) for label, *rest in found]
    totals = sorted(prompt.tokens + schema for _, prompt in built)
    proved = sum(bare(label["key_line"]) in bare(prompt.text) for label, prompt in built)
    leaked = sum(secret in prompt.text for label, prompt in built for secret in label.get("secrets", ()))
    print(f"prompt with schema, tokens: median {statistics.median(totals):.0f}, most {totals[-1]} (bar 6000)")
    print(f"proving line in the prompt: {proved}/{len(built)} = {proved / len(built):.3f} (bar 0.99)")
    print(f"planted secrets in a prompt: {leaked}")


def post(url, request):
    host = urllib.parse.urlsplit(url).netloc
    connection = http.client.HTTPConnection(host)
    headers = {"Content-Type": "application/json", "x-goog-api-key": KEY}
    connection.request("POST", request.path, json.dumps(request.body), headers)
    connection.getresponse().read()
    connection.close()


def around(found, rounds=40):
    _, failure, evidence, rules = max(found, key=lambda case: sum(len(item.lines) for item in case[2]))
    ours, theirs = [], []
    with GeminiServer() as server:
        target = gemini.Target(api_key=KEY, base_url=server.url)
        complete = functools.partial(gemini.complete, target=target)
        gemini.preload(target)
        for _ in range(rounds):
            began = time.perf_counter()
            opinion = second_opinion(
                failure, evidence, rules, complete=complete, deadline=time.monotonic() + 25, clock=time.monotonic
            )
            ours.append(time.perf_counter() - began)
            assert opinion.exchanges[0].reply.text, opinion.exchanges[0].reply
            began = time.perf_counter()
            post(server.url, server.requests[-1])
            theirs.append(time.perf_counter() - began)
    mine, bare_post = statistics.median(ours) * 1000, statistics.median(theirs) * 1000
    print(f"evidence ready -> diagnosis, SDK loaded: median {mine:.0f} ms, slowest {max(ours) * 1000:.0f} ms (bar 500)")
    print(f"the same request by http.client: median {bare_post:.0f} ms; ratio {mine / bare_post:.1f}")


def imports():
    code = "import sys, time; t = time.perf_counter(); {}; print(time.perf_counter() - t, len(sys.modules))"
    steps = {
        "adapters.gemini": "import airflow_de_agent.adapters.gemini",
        "adapters.gemini, preload()": "import airflow_de_agent.adapters.gemini as g; g.preload(g.Target('k'))",
    }
    for name, step in steps.items():
        run = subprocess.run([sys.executable, "-c", code.format(step)], cwd=ROOT, capture_output=True, text=True)
        seconds, modules = run.stdout.split()
        print(f"import {name}: {float(seconds) * 1000:.0f} ms, {modules} modules")


def main():
    found = list(cases(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "tests" / "evals")))
    sizes(found)
    around(found)
    imports()


if __name__ == "__main__":
    main()
