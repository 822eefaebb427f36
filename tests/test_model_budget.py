"""What keeps calls to the model few: the day's budget, the circuit, and opinions that are kept."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.model_budget import Circuit, DailyBudget
from airflow_de_agent.core.opinion_cache import OpinionCache, cache_key
from airflow_de_agent.core.prompt import Prompt
from airflow_de_agent.core.reply import Reply
from airflow_de_agent.core.second_opinion import second_opinion
from tests.gemini_server import says
from tests.test_second_opinion import TRUE, Model

PROMPT = Prompt("s" * 2000, "t" * 2000)  # 1,000 tokens
GOOD = Reply("{}", "stop", input_tokens=900, output_tokens=300)
BAD = Reply(problem="the service answered 503.", transient=True)
DAY = 86400.0


class Shelf:
    """A store of one process: a counter and kept texts, with a lock as a database has one."""

    def __init__(self):
        self.counts, self.texts, self.lock, self.away = {}, {}, threading.Lock(), False

    def add(self, name, amount, *, expires_at):
        self._reach()
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + amount
            return self.counts[name]

    def recall(self, key, *, now):
        self._reach()
        text, expires_at = self.texts.get(key, ("", 0.0))
        return text if now < expires_at else None

    def remember(self, key, text, *, expires_at):
        self._reach()
        self.texts[key] = (text, expires_at)

    def _reach(self):
        if self.away:
            raise StoreError("the store is away")


def call(complete):
    return complete(PROMPT, {}, deadline=25.0, max_output_tokens=8192)


def answering(*replies):
    """A `complete` that gives the replies one after another, the last for ever, and counts its calls."""
    left = list(replies)

    def complete(prompt, schema, *, deadline, max_output_tokens):
        complete.calls += 1
        return left.pop(0) if len(left) > 1 else left[0]

    complete.calls = 0
    return complete


# --- the day's budget -------------------------------------------------------------------------------------------


def test_the_days_tokens_are_shared_by_all_hosts():
    """Two hosts on one counter: what one spends, the other lacks; the refusal names the setting."""
    shelf, complete = Shelf(), answering(GOOD)
    hosts = [DailyBudget(complete, shelf.add, lambda: DAY, tokens=3000) for _ in range(2)]
    assert [call(host).text for host in hosts] == ["{}", "{}"]
    refused = call(hosts[0])
    assert refused.text == "" and "3,000 tokens are used up" in refused.problem
    assert "daily_token_budget" in refused.cure
    assert complete.calls == 2 and shelf.counts == {"gemini-tokens-1": 2400}


def test_midnight_opens_the_budget_again():
    """Each UTC day has a counter of its own."""
    shelf, times = Shelf(), [DAY]
    budget = DailyBudget(answering(GOOD), shelf.add, lambda: times[-1], tokens=1500)
    assert call(budget).text and not call(budget).text
    times.append(2 * DAY)
    assert call(budget).text


def test_calls_are_limited_too():
    """The number of calls a day is a limit of its own."""
    budget = DailyBudget(answering(GOOD), Shelf().add, lambda: DAY, calls=2)
    assert [bool(call(budget).text) for _ in range(3)] == [True, True, False]


def test_hosts_that_call_at_once_see_each_other():
    """A hundred at once on a budget of ten prompts: no more than ten are let through."""
    shelf, begin = Shelf(), threading.Barrier(100)
    complete = answering(dataclasses.replace(GOOD, input_tokens=900, output_tokens=100))
    budget = DailyBudget(complete, shelf.add, lambda: DAY, tokens=10_000)
    done = []

    def host():
        begin.wait()
        done.append(call(budget))

    threads = [threading.Thread(target=host) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(bool(reply.text) for reply in done) <= 10
    assert shelf.counts["gemini-tokens-1"] <= 10_000


def test_a_failed_call_gives_its_tokens_back():
    """Nothing was charged, so nothing is counted; a service that answered nothing is charged by the estimate."""
    shelf = Shelf()
    budget = DailyBudget(answering(BAD, Reply(finish="empty", problem="nothing")), shelf.add, lambda: DAY, tokens=9000)
    call(budget)
    assert shelf.counts["gemini-tokens-1"] == 0
    call(budget)
    assert shelf.counts["gemini-tokens-1"] == 1000


def test_no_limit_and_no_store_stop_nothing():
    """Without limits nothing is counted; a store that is away does not keep the model away."""
    shelf = Shelf()
    assert call(DailyBudget(answering(GOOD), shelf.add, lambda: DAY)).text and not shelf.counts
    shelf.away = True
    assert call(DailyBudget(answering(GOOD), shelf.add, lambda: DAY, tokens=10, calls=1)).text


# --- the circuit ------------------------------------------------------------------------------------------------


def test_the_circuit_opens_and_says_so():
    """Three failures in a row: the fourth is refused at once, with the last reason and the time of the next try."""
    now, complete = [0.0], answering(BAD)
    circuit = Circuit(complete, lambda: now[0])
    for _ in range(3):
        call(circuit)
    refused = call(circuit)
    assert complete.calls == 3
    assert refused.problem == (
        "not asked, since it failed 3 times in a row (last: the service answered 503). Asked again in 120 s."
    )


def test_the_circuit_closes_after_a_success():
    """After the rest one call is let through: a failure opens it again, an answer closes it."""
    now, complete = [0.0], answering(BAD, BAD, BAD, BAD, GOOD)
    circuit = Circuit(complete, lambda: now[0])
    for _ in range(3):
        call(circuit)
    now[0] = 121.0
    assert call(circuit).problem == BAD.problem
    assert "not asked" in call(circuit).problem
    now[0] = 242.0
    assert call(circuit).text and call(circuit).text


def test_an_empty_answer_does_not_open_the_circuit():
    """A blocked or empty answer is the model's, not the service's failure."""
    circuit = Circuit(answering(Reply(finish="safety", problem="nothing")), lambda: 0.0)
    assert all("not asked" not in call(circuit).problem for _ in range(5))


# --- kept opinions ----------------------------------------------------------------------------------------------

RULES = Diagnosis(Category.NETWORK, "Refused.", confidence=0.6, evidence_gaps=("redshift: not allowed",))


def failure(n):
    return TaskFailure(TaskKey("sales_etl", f"run-{n}", "load", n, 1), "task", f"2026-11-22T03:14:{n % 60:02}")


def log(n, line="connect to 10.0.3.7 port 5439 refused", more=()):
    stamp = f"[2026-11-22T03:{n // 60 % 60:02}:{n % 60:02}.{n:06}+0000]"
    rows = [f"{stamp} INFO - pid {n} reads", *more, f"{stamp} ERROR - ConnectionRefusedError: {line}"]
    return (Evidence.of_lines("task_log", rows),)


def asking(cache, model, n, evidence=None):
    evidence = evidence or log(n)

    def ask():
        model.now = 0.0
        return second_opinion(failure(n), evidence, RULES, complete=model, deadline=25.0, clock=lambda: model.now)

    return cache.opinion("f1", failure(n), evidence, RULES, ask).diagnosis


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def cache(shelf):
    return OpinionCache(shelf, lambda: DAY, "gemini-3.8-flash")


def test_a_thousand_failures_of_one_cause_are_one_call(cache):
    """Times, pids and map indexes differ; the model is asked once, and each answer quotes its own log."""
    model = Model(says(**TRUE | {"evidence": [{"source": "task_log", "quote": log(0)[0].lines[-1].text}]}))
    answers = [asking(cache, model, n) for n in range(1000)]
    assert len(model.prompts) == 1
    assert {answer.engine for answer in answers} == {"gemini"}
    assert answers[999].evidence[0].quote == log(999)[0].lines[-1].text
    assert answers[999].tokens == 0 and answers[999].model_call["cached"] is True


@pytest.mark.parametrize(
    "other",
    [
        log(1, "connect to 10.0.3.8 port 5439 refused"),  # the kept sentence names 10.0.3.7
        log(1, "password authentication failed for user etl"),
        (*log(1), Evidence.of_rows("redshift", [{"error": "1023 serializable isolation violation"}])),
        (*log(1), Evidence.unavailable("redshift", "not allowed")),
    ],
    ids=["another host", "another error", "more evidence", "a gap"],
)
def test_another_failure_is_asked_anew(cache, other):
    """What is not the same, or what the kept sentence would be wrong of, is a question of its own."""
    model = Model(says(**TRUE))
    asking(cache, model, 0)
    asking(cache, model, 1, other)
    assert len(model.prompts) == 2


def test_an_opinion_expires(shelf):
    """After its time it is asked anew; another model's opinion is none."""
    now, model = [DAY], Model(says(**TRUE))
    cache = OpinionCache(shelf, lambda: now[0], "m", seconds=3600.0)
    asking(cache, model, 0)
    now[0] += 3599.0
    asking(cache, model, 1)
    assert len(model.prompts) == 1
    asking(dataclasses.replace(cache, model="other"), model, 2)
    now[0] += 2.0
    asking(cache, model, 3)
    assert len(model.prompts) == 3


def test_only_a_models_opinion_is_kept(cache, shelf):
    """The rules' answer costs nothing and may have been a stopgap."""
    asking(cache, Model(BAD), 0)
    assert not shelf.texts


def test_a_store_that_is_away_or_broken_costs_a_call_and_no_more(cache, shelf):
    """A diagnosis comes all the same."""
    model = Model(says(**TRUE))
    asking(cache, model, 0)
    shelf.texts = {key: ("{broken", expires) for key, (_, expires) in shelf.texts.items()}
    assert asking(cache, model, 1).engine == "gemini"
    shelf.away = True
    assert asking(cache, model, 2).engine == "gemini"
    assert len(model.prompts) == 3


def test_the_growing_history_does_not_change_the_key():
    """`recent_runs` has one row more an hour later, for the same failure."""
    runs = [{"run_id": f"r{n}", "state": "failed"} for n in range(3)]
    keys = {cache_key("f", "m", [*log(n), Evidence.of_rows("recent_runs", runs[: n + 1])]) for n in range(3)}
    assert len(keys) == 1
