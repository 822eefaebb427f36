"""Cases written by hand, for what no single task can provoke here: ``written.py``.

The frames follow what Airflow 2.11 and 3.3 were seen to write (lost heartbeats, upstream failures, several tries).
"""

# ruff: noqa: E501 - a table, one case a line
# fmt: off

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1]


def state(task_id: str, how: str, start: str = "", end: str = "") -> dict[str, Any]:
    """A row of the run's states."""
    day = "2026-11-22T"
    return {"task_id": task_id, "state": how, "try_number": 1 if start else 0, "start_date": start and f"{day}{start}+00:00", "end_date": end and f"{day}{end}+00:00"}


def head(dag_id: str, task_id: str, attempt: int = 1, of: int = 1, when: str = "02:00:0") -> str:
    """The preamble of an Airflow 2 log."""
    ti = f"<TaskInstance: {dag_id}.{task_id} scheduled__2026-11-21T00:00:00+00:00"
    return (
        f"[2026-11-22T{when}1.214+0000] {{local_task_job_runner.py:123}} INFO - ::group::Pre task execution logs\n"
        f"[2026-11-22T{when}1.301+0000] {{taskinstance.py:2632}} INFO - Dependencies all met for dep_context=requeueable deps ti={ti} [queued]>\n"
        f"[2026-11-22T{when}1.302+0000] {{taskinstance.py:2885}} INFO - Starting attempt {attempt} of {of}\n"
        f"[2026-11-22T{when}1.390+0000] {{taskinstance.py:2908}} INFO - Executing <Task(_PythonDecoratedOperator): {task_id}> on 2026-11-21 00:00:00+00:00\n"
        f"[2026-11-22T{when}2.004+0000] {{taskinstance.py:740}} INFO - ::endgroup::\n"
    )


def row(when: str, text: str, level: str = "INFO", file: str = "logging_mixin.py:190") -> str:
    """A line of an Airflow 2 log."""
    return f"[2026-11-22T{when}.118+0000] {{{file}}} {level} - {text}\n"


UNREAD = "*** Could not read served logs: Invalid URL 'http://:8793/log/{0}': No host supplied\n"
TRACE = 'Traceback (most recent call last):\n  File "/usr/local/airflow/dags/{0}.py", line {1}, in {2}\n    {3}\n'

WRITTEN: list[dict[str, Any]] = [
    {"dag_id": "revenue_daily", "task_id": "publish", "category": "upstream_failure", "also_acceptable": [], "key_line": "load_orders", "key_line_in": "evidence",
     "root_cause": "publish never ran: load_orders failed before it, for a reason that is not in sight.",
     "log": UNREAD.format("dag_id=revenue_daily/run_id=scheduled__2026-11-21T00:00:00+00:00/task_id=publish/attempt=0.log"),
     "evidence": {"run_state": [state("extract", "success", "02:00:01", "02:03:11"), state("load_orders", "failed", "02:03:12", "02:09:40"), state("publish", "upstream_failed")]}},
    {"dag_id": "hourly_sync", "task_id": "sync_accounts", "category": "infrastructure", "also_acceptable": [], "key_line": "Detected zombie job",
     "root_cause": "The worker stopped sending heartbeats; the scheduler failed the task.",
     "log": head("hourly_sync", "sync_accounts") + row("02:00:03", "synced 1,200 of 80,000 accounts")
     + row("02:06:41", "Detected zombie job: {'full_filepath': '/usr/local/airflow/dags/hourly_sync.py', 'msg': \"{'DAG Id': 'hourly_sync', 'Task Id': 'sync_accounts', 'Run Id': 'scheduled__2026-11-21T00:00:00+00:00', 'Hostname': 'ip-10-192-21-77'}\"} (See https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/tasks.html#zombie-undead-tasks)", "ERROR", "scheduler_job_runner.py:1783")},
    {"dag_id": "vat_export", "task_id": "export_vat", "category": "infrastructure", "also_acceptable": ["unknown"], "key_line": "finished with state failed, but the task instance's state attribute is queued",
     "root_cause": "The executor lost the task before it started.",
     "log": row("02:04:11", "Executor CeleryExecutor(parallelism=32) reported that the task instance <TaskInstance: vat_export.export_vat scheduled__2026-11-21T00:00:00+00:00 [queued]> finished with state failed, but the task instance's state attribute is queued. Learn more: https://airflow.apache.org/docs/apache-airflow/stable/troubleshooting.html#task-state-changed-externally", "ERROR", "scheduler_job_runner.py:862")},
    {"dag_id": "inventory_pull", "task_id": "pull_stock", "category": "authentication", "also_acceptable": [], "key_line": "535 5.7.8 Authentication credentials invalid",
     "root_cause": "The stock itself was pulled; the mail at the end failed, as SMTP refuses the credentials. The first try had met a connection reset, which is over.",
     "log": head("inventory_pull", "pull_stock", 1, 2) + row("02:00:04", "Task failed with exception", "ERROR", "taskinstance.py:3337") + TRACE.format("inventory_pull", 21, "pull_stock", "rows = session.get(url, timeout=30).json()")
     + "requests.exceptions.ConnectionError: ('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))\n"
     + row("02:00:05", "Marking task as UP_FOR_RETRY. dag_id=inventory_pull, task_id=pull_stock", file="taskinstance.py:1242") + row("02:00:05", "Task exited with return code 1", file="local_task_job_runner.py:266")
     + head("inventory_pull", "pull_stock", 2, 2, "02:05:1") + row("02:05:17", "pulled 48,112 rows, wrote stock_20261121.parquet") + row("02:05:19", "Task failed with exception", "ERROR", "taskinstance.py:3337")
     + TRACE.format("inventory_pull", 34, "pull_stock", 'smtp.login("reports@acme.example", password)') + "smtplib.SMTPAuthenticationError: (535, b'5.7.8 Authentication credentials invalid')\n".replace("(535, b'5.7.8", "(535, b'535 5.7.8")
     + row("02:05:20", "Marking task as FAILED. dag_id=inventory_pull, task_id=pull_stock", file="taskinstance.py:1242") + row("02:05:20", "Task exited with return code 1", file="local_task_job_runner.py:266")},
    {"dag_id": "ads_merge", "task_id": "merge_spend", "category": "unknown", "also_acceptable": ["infrastructure"], "key_line": "", "root_cause": "The log ends before the task's own first line; nothing else is known.",
     "log": head("ads_merge", "merge_spend")},
    {"dag_id": "consent_filter", "task_id": "filter_users", "category": "unknown", "also_acceptable": ["code_error", "data_quality"], "key_line": "", "root_cause": "An assertion without a text; which of the two sides is wrong cannot be seen.",
     "log": head("consent_filter", "filter_users") + row("02:00:03", "filtering") + row("02:00:09", "Task failed with exception", "ERROR", "taskinstance.py:3337")
     + TRACE.format("consent_filter", 40, "filter_users", "assert check(before, after)") + "AssertionError\n" + row("02:00:09", "Task exited with return code 1", file="local_task_job_runner.py:266")},
    {"dag_id": "sap_extract", "task_id": "extract_bkpf", "category": "external_service", "also_acceptable": ["infrastructure", "network"], "key_line": "maintenance until 06:00 UTC",
     "root_cause": "SAP is down for maintenance; three earlier runs failed alike.",
     "log": head("sap_extract", "extract_bkpf") + row("02:00:03", "RFC call BAPI_ACC_DOCUMENT refused: system PRD is in maintenance until 06:00 UTC (message 00 341)", "WARNING") + row("02:00:04", "Task failed with exception", "ERROR", "taskinstance.py:3337")
     + TRACE.format("sap_extract", 18, "extract_bkpf", "raise RuntimeError('no documents extracted')") + "RuntimeError: no documents extracted\n" + row("02:00:05", "Task exited with return code 1", file="local_task_job_runner.py:266"),
     "evidence": {"recent_runs": [{"run_id": "scheduled__2026-11-20T00:00:00+00:00", "state": "success"}, {"run_id": "scheduled__2026-11-21T00:00:00+00:00", "state": "failed"}]}},
    {"dag_id": "pii_scan", "task_id": "scan_table", "category": "quota", "also_acceptable": ["rate_limit"], "key_line": "LimitExceededException",
     "root_cause": "The account has reached its number of Macie classification jobs.",
     "log": head("pii_scan", "scan_table") + row("02:00:03", "headers: {'X-Amz-Security-Token': 'IQoJb3JpZ2luX2VjEFAKEfakeFAKEfakeFAKEfakeFAKEfakeFAKEfakeFAKEfake=='}") + row("02:00:04", "Task failed with exception", "ERROR", "taskinstance.py:3337")
     + TRACE.format("pii_scan", 12, "scan_table", "client.create_classification_job(**job)") + "botocore.errorfactory.LimitExceededException: An error occurred (LimitExceededException) when calling the CreateClassificationJob operation: You have reached the maximum number of active jobs for this account\n"
     + row("02:00:05", "Task exited with return code 1", file="local_task_job_runner.py:266"), "secrets": ["IQoJb3JpZ2luX2VjEFAKEfakeFAKEfakeFAKEfakeFAKEfakeFAKEfakeFAKEfake=="]},
]  # fmt: skip


def main() -> None:
    """Write every case."""
    for number, item in enumerate(WRITTEN, 1):
        case_id, log = f"e{number:03d}", item.pop("log")
        values = {"id": case_id, "source": "written by hand", "airflow": "2", "operator": "_PythonDecoratedOperator", "run_id": "scheduled__2026-11-21T00:00:00+00:00"} | item
        values.setdefault("key_line_in", "log" if item["key_line"] else "none")
        (CASES / f"{case_id}.json").write_text(json.dumps(values | {"log_lines": log.count("\n")}, indent=1, ensure_ascii=False) + "\n")
        (CASES / f"{case_id}.log").write_text(log)


if __name__ == "__main__":
    main()
