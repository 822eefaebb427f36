"""Whole logs, each with what a senior engineer would call its cause."""

# ruff: noqa: E501 - log lines are quoted as they come.

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from airflow_de_agent.core import rules
from airflow_de_agent.core.diagnosis import check_quotes
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.offline import from_log
from airflow_de_agent.core.task_log import TaskLog, distil

HEAD = "[2026-11-22T10:00:0%d.000+0000] {%s} %s"


class Story(NamedTuple):
    """A distilled log and what else is known."""

    log: TaskLog
    evidence: Sequence[Evidence]


def story(
    ended_by: str | None,
    *lines: str,
    ev: Sequence[Evidence] = (),
    frame: str = '  File "/usr/local/airflow/dags/x.py", line 31, in load',
    after: Sequence[str] = (),
    op: str = "PythonOperator",
) -> Story:
    """An Airflow 2 log; lines that begin with ``raw:`` or a tab have their own head or none."""
    out = [HEAD % (0, "taskinstance.py:2885", "INFO - Starting attempt 1 of 1")]
    out += [HEAD % (0, "taskinstance.py:2908", f"INFO - Executing <Task({op}): load> on 2026-11-22")]
    out += [
        line.removeprefix("raw:") if line.startswith(("raw:", "\t")) else HEAD % (1, "x.py:12", line) for line in lines
    ]
    if ended_by:
        out += [HEAD % (9, "taskinstance.py:3337", "ERROR - Task failed with exception")]
        out += ["Traceback (most recent call last):", frame, "    y = f(x)", ended_by]
        out += [HEAD % (9, "taskinstance.py:1242", "INFO - Marking task as FAILED. dag_id=d, task_id=load, run_id=r")]
    out += [HEAD % (9, "x.py:1", line) for line in after]
    return Story(distil(["\n".join(out).encode()], redact=lambda text: text), tuple(ev))


def shell(text: str) -> str:
    """A line that a Bash command wrote."""
    return "raw:" + HEAD % (1, "subprocess.py:106", f"INFO - {text}")


def pod(text: str) -> str:
    """A line that a container of a pod wrote."""
    return "raw:" + HEAD % (1, "pod_manager.py:490", f"INFO - [base] {text}")


def container(text: str) -> str:
    """A line that an ECS container wrote."""
    return "raw:" + HEAD % (1, "task_log_fetcher.py:60", f"INFO - [2026-11-22 10:00:01,000] {text}")


# Expected category (or several, where engineers differ) and the story.
STORIES = (
    (
        "missing_data",
        story(
            "IndexError: list index out of range", "INFO - listing s3://raw/orders/2026-11-21/", "INFO - found 0 files"
        ),
    ),
    (
        "code_error",
        story(
            "IndexError: list index out of range",
            "INFO - found 12 files",
            "WARNING - DeprecationWarning: x is deprecated",
        ),
    ),
    (
        "permissions",
        story(
            "airflow.exceptions.AirflowSensorTimeout: Sensor has timed out; run duration of 60 seconds exceeds the specified timeout of 60.",
            "WARNING - poke failed: An error occurred (403) when calling the HeadObject operation: Forbidden",
            op="S3KeySensor",
        ),
    ),
    (
        "missing_data",
        story(
            "airflow.exceptions.AirflowSensorTimeout: Sensor has timed out; run duration of 60 seconds exceeds the specified timeout of 60.",
            "INFO - Poking for key : s3://raw/x/_SUCCESS",
            op="S3KeySensor",
        ),
    ),
    (
        "lock_conflict",
        story(
            "airflow.exceptions.AirflowTaskTimeout: Timeout, PID: 44",
            "INFO - Running statement: ALTER TABLE x",
            "WARNING - still waiting for AccessExclusiveLock on relation mart.x, blocked by pid 881",
        ),
    ),
    (
        "rate_limit",
        story(
            "airflow.exceptions.AirflowTaskTimeout: Timeout, PID: 44",
            "WARNING - 429 Too Many Requests, retrying in 60 s",
            "WARNING - 429 Too Many Requests, retrying in 60 s",
            "WARNING - 429 Too Many Requests, retrying in 60 s",
            "WARNING - 429 Too Many Requests, retrying in 60 s",
        ),
    ),
    (
        "timeout",
        story(
            "airflow.exceptions.AirflowTaskTimeout: Timeout, PID: 44",
            "INFO - processed batch 1",
            "INFO - processed batch 2",
        ),
    ),
    (
        "data_quality",
        story(
            "KeyError: 'discount'",
            "INFO - read 100 rows",
            frame='  File "/usr/local/lib/python3.11/site-packages/pandas/core/indexes/base.py", line 3812, in get_loc',
        ),
    ),
    (
        "code_error",
        story(
            "KeyError: 'discount'",
            "INFO - read 100 rows",
            "WARNING - 429 Too Many Requests, retrying in 2 s",
            "INFO - page 2 ok",
        ),
    ),
    (
        "code_error,data_quality",
        story(
            "KeyError: 'discount'",
            "INFO - read 100 rows",
            after=("ERROR - Failed to execute callback: The request to the Slack API failed: invalid_auth",),
        ),
    ),
    (
        "external_service",
        story(
            "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
            "ERROR - vendor answered 502 Bad Gateway",
        ),
    ),
    (
        "disk_full",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 2.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - tar: x: Cannot write: No space left on device",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - tar: Error is not recoverable: exiting now",
            op="BashOperator",
        ),
    ),
    (
        "sql_error",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - 10:00:01  Database Error in model fct_orders (models/fct_orders.sql)",
            'raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - 10:00:01    column "discount" does not exist',
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - 10:00:01  Done. PASS=3 WARN=0 ERROR=1 SKIP=2 TOTAL=6",
            op="BashOperator",
        ),
    ),
    (
        "data_quality",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - 10:00:01  1 of 4 FAIL 3 unique_orders_id ........ [FAIL 3 in 0.1s]",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - 10:00:01  Failure in test unique_orders_id (models/schema.yml)",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - 10:00:01    Got 3 results, configured to fail if != 0",
            op="BashOperator",
        ),
    ),
    (
        "permissions",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - bash: line 3: ./run.sh: Permission denied",
            op="BashOperator",
        ),
    ),
    (
        "missing_data,configuration",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - cat: /data/in/orders.csv: No such file or directory",
            op="BashOperator",
        ),
    ),
    (
        "code_error",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - Traceback (most recent call last):",
            'raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO -   File "/opt/jobs/x.py", line 4, in <module>',
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - NameError: name 'df' is not defined",
            op="BashOperator",
        ),
    ),
    (
        "missing_dependency",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - ModuleNotFoundError: No module named 'pyarrow'",
            op="BashOperator",
        ),
    ),
    (
        "out_of_memory",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 137.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - /usr/bin/bash: line 3: 112 Killed python x.py",
            op="BashOperator",
        ),
    ),
    (
        "out_of_memory",
        story(
            None,
            "INFO - loading 40 GB",
            "raw:[2026-11-22T10:00:09.000+0000] {local_task_job_runner.py:266} INFO - Task exited with return code -9",
        ),
    ),
    (
        "infrastructure",
        story(
            "airflow.exceptions.AirflowException: Task received SIGTERM signal",
            "ERROR - Received SIGTERM. Terminating subprocesses.",
            "WARNING - psycopg2.OperationalError: server closed the connection unexpectedly",
        ),
    ),
    (
        "network",
        story(
            "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.x', port=443): Max retries exceeded (Caused by NewConnectionError('[Errno 111] Connection refused'))",
            "WARNING - retrying after 503 Service Unavailable",
        ),
    ),
    (
        "authentication",
        story(
            "AttributeError: 'NoneType' object has no attribute 'json'",
            "WARNING - token refresh failed: 401 Unauthorized",
        ),
    ),
    (
        "upstream_failure",
        story(
            "TypeError: 'NoneType' object is not subscriptable",
            "INFO - pulled xcom from extract: None",
            ev=[
                Evidence.of_rows(
                    "run_state",
                    [
                        {"task_id": "extract", "state": "failed", "end_date": "2026-11-22T09:00:00"},
                        {"task_id": "load", "state": "failed", "end_date": "2026-11-22T10:00:09"},
                    ],
                )
            ],
        ),
    ),
    (
        "upstream_failure",
        story(
            None,
            ev=[
                Evidence.of_rows(
                    "run_state",
                    [
                        {"task_id": "extract", "state": "failed", "end_date": "2026-11-22T09:00:00"},
                        {"task_id": "load", "state": "upstream_failed"},
                    ],
                )
            ],
        ),
    ),
    (
        "lock_conflict",
        story(
            "redshift_connector.error.ProgrammingError: {'M': 'Query cancelled on user request'}",
            ev=[
                Evidence.of_rows(
                    "redshift",
                    [
                        {
                            "view": "SVV_TRANSACTIONS",
                            "table": "orders",
                            "lock_mode": "AccessExclusiveLock",
                            "granted": False,
                            "blocking_pid": 123,
                        }
                    ],
                )
            ],
        ),
    ),
    (
        "timeout",
        story(
            "airflow.exceptions.AirflowException: Statement failed: Query cancelled",
            ev=[
                Evidence.of_rows(
                    "redshift",
                    [
                        {"view": "STL_WLM_RULE_ACTION", "rule": "max_exec", "action": "abort"},
                        {
                            "view": "SYS_QUERY_HISTORY",
                            "status": "failed",
                            "error_message": 'Query cancelled by WLM abort action of Query Monitoring Rule "max_exec".',
                        },
                    ],
                )
            ],
        ),
    ),
    (
        "permissions",
        story(
            "airflow.exceptions.AirflowException: Exiting Job jr_1 Run State: FAILED",
            "raw:[2026-11-22T10:00:01.000+0000] {glue.py:376} INFO - Glue Job Run /aws-glue/jobs/error Logs:",
            "\tcom.amazonaws.services.s3.model.AmazonS3Exception: Access Denied (Service: Amazon S3; Status Code: 403; Error Code: AccessDenied; Request ID: X)",
            "\t26/11/22 03:16:15 INFO SparkContext: Successfully stopped SparkContext",
            op="GlueJobOperator",
        ),
    ),
    (
        "data_quality",
        story(
            "airflow.exceptions.AirflowException: Exiting Job jr_1 Run State: FAILED",
            "raw:[2026-11-22T10:00:01.000+0000] {glue.py:376} INFO - Glue Job Run /aws-glue/jobs/error Logs:",
            "\torg.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times",
            '\tCaused by: java.lang.NumberFormatException: For input string: "N/A"',
            op="GlueJobOperator",
        ),
    ),
    (
        "out_of_memory",
        story(
            "airflow.exceptions.AirflowException: Pod etl-1 returned a failure.",
            "raw:[2026-11-22T10:00:01.000+0000] {pod_manager.py:490} INFO - [base] loading partition 7",
            "raw:[2026-11-22T10:00:02.000+0000] {pod.py:980} INFO - remote_pod: {'container_statuses': [{'state': {'terminated': {'exit_code': 137, 'reason': 'OOMKilled'}}}]}",
            op="KubernetesPodOperator",
        ),
    ),
    (
        "deliberate",
        story("airflow.exceptions.AirflowFailException: month 2026-10 is already closed; refusing to rebuild"),
    ),
    (
        "data_quality",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - ERROR: 14 rows rejected: invalid amount",
            op="BashOperator",
        ),
    ),
    (
        "unknown",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {subprocess.py:106} INFO - step 4 of 9",
            op="BashOperator",
        ),
    ),
    ("unknown,code_error", story("RuntimeError: E-1742")),
    (
        "authentication",
        story(
            "AttributeError: 'NoneType' object has no attribute 'close'",
            'ERROR - could not connect: FATAL: password authentication failed for user "etl"',
        ),
    ),
    (
        "network",
        story(
            "UnboundLocalError: cannot access local variable 'resp' where it is not associated with a value",
            "ERROR - request failed: HTTPConnectionPool(host='api.x', port=80): Max retries exceeded (Caused by NameResolutionError(\"Failed to resolve 'api.x'\"))",
        ),
    ),
    (
        "disk_full",
        story(
            "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/stage/part-3.parquet'",
            "WARNING - could not write part 3: [Errno 28] No space left on device",
        ),
    ),
    ("missing_data", story("ValueError: No objects to concatenate", "INFO - reading s3://raw/2026-11-21/")),
    (
        "code_error",
        story(
            "TypeError: load() takes 1 positional argument but 2 were given",
            "INFO - connection reset by peer, retrying",
            "INFO - ok after retry",
        ),
    ),
    ("infrastructure", story(None, "INFO - loading 4 of 9", "INFO - loading 5 of 9")),
    (
        "configuration",
        story(
            "airflow.exceptions.AirflowException: SSH command timed out",
            "ERROR - Server 'sftp.x' not found in known_hosts",
        ),
    ),
    (
        "quota",
        story(
            "airflow.exceptions.AirflowException: EMR job failed",
            "ERROR - VALIDATION_ERROR: The requested number of spot instances exceeds your EC2 quota",
        ),
    ),
    (
        "external_service",
        story(
            "airflow.exceptions.AirflowException: Response check returned False.",
            'INFO - {"status": "error", "message": "upstream service unavailable"}',
            op="HttpOperator",
        ),
    ),
    (
        "data_quality",
        story(
            "airflow.providers.amazon.aws.exceptions.EcsOperatorError: This task is not in success state {'containers': [{'exitCode': 1}]}",
            container("Traceback (most recent call last):"),
            container('  File "/app/load.py", line 9, in <module>'),
            container("ValueError: could not convert string to float: 'N/A'"),
            container("Essential container in task exited"),
            op="EcsRunTaskOperator",
        ),
    ),
    (
        "missing_dependency",
        story(
            "airflow.exceptions.AirflowException: SSH operator error: SSH command failed: exit status = 127",
            "raw:[2026-11-22T10:00:01.000+0000] {ssh.py:478} WARNING - bash: spark-submit: command not found",
            op="SSHOperator",
        ),
    ),
    (
        "out_of_memory",
        story(
            "airflow.providers.docker.exceptions.DockerContainerFailedException: Docker container failed: {'StatusCode': 137}",
            op="DockerOperator",
        ),
    ),
    (
        "network",
        story(
            "airflow.exceptions.AirflowException: Pod etl returned a failure.",
            pod(
                'sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection to server at "10.0.1.5", port 5432 failed: Connection refused'
            ),
            op="KubernetesPodOperator",
        ),
    ),
    (
        "permissions",
        story(
            "airflow.providers.amazon.aws.hooks.redshift_data.RedshiftDataQueryFailedError: Statement 5a terminated with status FAILED. Response details: {'Error': 'ERROR: permission denied for schema finance'}",
            op="RedshiftDataOperator",
        ),
    ),
    ("network", story("tenacity.RetryError: RetryError[<Future at 0x7f state=finished raised ConnectTimeout>]")),
    ("configuration", story("SystemExit: 1", "ERROR - config file /etc/loader/prod.yml not found")),
    (
        "disk_full",
        story(
            "subprocess.CalledProcessError: Command '['sort', 'x']' returned non-zero exit status 2.",
            "INFO - sort: write failed: /tmp/sortA: No space left on device",
        ),
    ),
    (
        "permissions",
        story(
            "airflow.exceptions.AirflowException: Job failed",
            "ERROR - Py4JJavaError: An error occurred while calling o97.save. : java.nio.file.AccessDeniedException: s3a://curated/x: PUT 0-byte object: com.amazonaws.services.s3.model.AmazonS3Exception: Access Denied (Service: Amazon S3; Status Code: 403",
        ),
    ),
    (
        "authentication",
        story("airflow.exceptions.AirflowException: 401:Unauthorized", "INFO - Calling HTTP method", op="HttpOperator"),
    ),
    (
        "data_quality",
        story(
            "sqlalchemy.exc.DataError: (psycopg2.errors.StringDataRightTruncation) value too long for type character varying(20)",
            "INFO - writing 1000 rows",
        ),
    ),
    (
        "timeout",
        story("airflow.exceptions.TaskDeferralError: Trigger/execution timeout", "INFO - Pausing task as DEFERRED"),
    ),
    (
        "missing_data",
        story(
            "airflow.exceptions.AirflowException: The sensor task deferred and timed out",
            "INFO - Poking for key: s3://a/b",
            op="S3KeySensor",
        ),
    ),
    (
        "infrastructure,deliberate",
        story(
            "airflow.exceptions.AirflowException: Task received SIGTERM signal",
            "WARNING - State of this instance has been externally set to up_for_retry. Terminating instance.",
        ),
    ),
    (
        "deliberate",
        story(
            None,
            "WARNING - State of this instance has been externally set to failed. Terminating instance.",
            "ERROR - Received SIGTERM. Terminating subprocesses.",
        ),
    ),
    (
        "rate_limit",
        story(
            "TypeError: 'NoneType' object is not iterable",
            "WARNING - attempt 1: 429 Too Many Requests",
            "WARNING - attempt 2: 429 Too Many Requests",
            "WARNING - attempt 3: 429 Too Many Requests, giving up",
        ),
    ),
    (
        "out_of_memory",
        story(
            "airflow.exceptions.AirflowException: Cannot execute: spark-submit --master yarn. Error code is: 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {spark_submit.py:571} INFO - 26/11/22 ERROR YarnScheduler: Lost executor 3: Container killed by YARN for exceeding memory limits. 9.1 GB of 9 GB physical memory used",
            "raw:[2026-11-22T10:00:01.000+0000] {spark_submit.py:571} INFO - org.apache.spark.SparkException: Job aborted due to stage failure",
            op="SparkSubmitOperator",
        ),
    ),
    (
        "missing_data",
        story(
            "airflow.exceptions.AirflowException: Cannot execute: spark-submit. Error code is: 1.",
            "raw:[2026-11-22T10:00:01.000+0000] {spark_submit.py:571} INFO - pyspark.errors.exceptions.captured.AnalysisException: [PATH_NOT_FOUND] Path does not exist: s3://raw/dt=2026-11-21.",
            op="SparkSubmitOperator",
        ),
    ),
    (
        "code_error",
        story(
            "airflow.exceptions.AirflowException: Cannot execute: spark-submit. Error code is: 1.",
            'raw:[2026-11-22T10:00:01.000+0000] {spark_submit.py:571} INFO -   File "/opt/jobs/x.py", line 3',
            "raw:[2026-11-22T10:00:01.000+0000] {spark_submit.py:571} INFO - AttributeError: 'DataFrame' object has no attribute 'withColum'",
            op="SparkSubmitOperator",
        ),
    ),
    (
        "external_service",
        story(
            "KeyError: 'data'",
            "INFO - GET https://api.x/v1 -> 200",
            "ERROR - unexpected answer: <html><head><title>Scheduled maintenance</title>",
        ),
    ),
    (
        "authentication",
        story(
            "KeyError: 'access_token'",
            'ERROR - token endpoint answered {"error": "invalid_client", "error_description": "client secret expired"}',
        ),
    ),
    (
        "quota",
        story(
            'psycopg2.OperationalError: connection to server at "db" failed: FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute'
        ),
    ),
    (
        "configuration",
        story(
            'psycopg2.OperationalError: connection to server at "db", port 5432 failed: FATAL: no pg_hba.conf entry for host "10.0.0.1", user "etl", database "dw", no encryption'
        ),
    ),
    (
        "network",
        story(
            'botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL: "https://s3.eu-west-9.amazonaws.com/"'
        ),
    ),
    (
        "network",
        story(
            "botocore.exceptions.SSLError: SSL validation failed for https://s3.amazonaws.com/ [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain"
        ),
    ),
    ("missing_data", story("IndexError: single positional indexer is out-of-bounds", "INFO - query returned 0 rows")),
    (
        "missing_data,code_error",
        story("ZeroDivisionError: division by zero", "INFO - loaded 0 rows from staging.events"),
    ),
    ("data_quality", story("AssertionError: expected unique customer_id, found 17 duplicates")),
    (
        "deliberate,data_quality",
        story("airflow.exceptions.AirflowFailException: reconciliation difference 1.2 % exceeds 0.5 %"),
    ),
    (
        "upstream_failure",
        story(
            "airflow.exceptions.AirflowException: The external task load_orders in DAG orders_daily failed.",
            op="ExternalTaskSensor",
        ),
    ),
    (
        "upstream_failure",
        story(
            "airflow.exceptions.AirflowException: orders_daily failed with failed states [<DagRunState.FAILED: 'failed'>]",
            op="TriggerDagRunOperator",
        ),
    ),
    (
        "configuration",
        story(
            "airflow.exceptions.AirflowException: Dag id orders_dayly not found in DagModel", op="TriggerDagRunOperator"
        ),
    ),
    ("code_error,configuration", story("airflow.exceptions.AirflowException: The `dag_id` must not be None")),
    (
        "missing_dependency",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            shell("ERROR: Could not find a version that satisfies the requirement acme-lib==9.9 (from versions: 1.0)"),
            shell("ERROR: No matching distribution found for acme-lib==9.9"),
            op="BashOperator",
        ),
    ),
    (
        "authentication",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 255.",
            shell(
                "An error occurred (ExpiredToken) when calling the ListBuckets operation: The provided token has expired."
            ),
            op="BashOperator",
        ),
    ),
    (
        "external_service",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 22.",
            shell("curl: (22) The requested URL returned error: 503"),
            op="BashOperator",
        ),
    ),
    (
        "network",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 28.",
            shell("curl: (28) Connection timed out after 30001 milliseconds"),
            op="BashOperator",
        ),
    ),
    (
        "data_quality",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 5.",
            shell("jq: error (at <stdin>:3): Cannot iterate over null (null)"),
            op="BashOperator",
        ),
    ),
    (
        "configuration",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
            shell("/tmp/x.sh: line 2: TARGET_DIR: unbound variable"),
            op="BashOperator",
        ),
    ),
    (
        "sql_error",
        story(
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 3.",
            shell('psql:/opt/sql/x.sql:12: ERROR:  syntax error at or near "SELEC"'),
            op="BashOperator",
        ),
    ),
    (
        "data_quality",
        story("great_expectations.exceptions.CheckpointError: Validation failed with 2 unsuccessful expectations"),
    ),
    ("data_quality", story("soda: AirflowException: Soda scan found 1 failed check: duplicate_count(order_id) = 0")),
    (
        "lock_conflict",
        story(
            "psycopg2.errors.InFailedSqlTransaction: current transaction is aborted, commands ignored until end of transaction block",
            "ERROR - batch 3: deadlock detected",
        ),
    ),
    ("missing_data", story("airflow.exceptions.AirflowException: No partition dt=2026-11-21 in table raw.clicks")),
    (
        "quota",
        story(
            "airflow.exceptions.AirflowException: Error starting cluster: You have requested more vCPU capacity than your current vCPU limit of 32 allows"
        ),
    ),
    ("code_error", story("AttributeError: module 'datetime' has no attribute 'utcnow'")),
    (
        "missing_dependency",
        story(
            "ValueError: ('Lambda function execution resulted in error', {'Payload': '{\"errorMessage\": \"Unable to import module \\'app\\': No module named \\'orjson\\'\"}'})"
        ),
    ),
    (
        "missing_data",
        story(
            "airflow.exceptions.AirflowException: Statement 1 terminated with status FAILED. Response details: {'Error': \"ERROR: The specified S3 prefix 'x/dt=1/' does not \"\n          'exist\\n'\n          'code: 8001'}"
        ),
    ),
    (
        "timeout",
        story(
            None,
            "ERROR - DagRun timed out after 1:00:00.221",
            "WARNING - State of this instance has been externally set to skipped. Terminating instance.",
        ),
    ),
    (
        "infrastructure",
        story(
            None,
            "ERROR - Server indicated the task shouldn't be running anymore detail={'reason': 'not_running', 'current_state': 'queued'}",
        ),
    ),
    (
        "unknown",
        story(
            "RuntimeError: sync failed",
            "ERROR - statsd: [Errno -2] Name or service not known (metrics disabled)",
            "WARNING - lineage: POST http://marquez:5000/api/v1/lineage: Connection refused, event dropped",
            "WARNING - permission denied on /outgoing/.snapshots (expected, not ours)",
        ),
    ),
    (
        "authentication",
        story("KeyError: 'latest_version'", "WARNING - key lookup failed, falling back to cache: 401 Unauthorized"),
    ),
    (
        "authentication",
        story(
            "zipfile.BadZipFile: File is not a zip file", "INFO - <html><head><title>Sign in to your account</title>"
        ),
    ),
    (
        "deliberate",
        story(
            "airflow.exceptions.AirflowFailException: guard said no",
            "WARNING - calendar service answered 503, second call ok",
            "INFO - change freeze CHG-2291 in force, publication not allowed",
        ),
    ),
    (
        "permissions",
        story(
            "FileNotFoundError: acme-kyc/in/2026-11-05.parquet",
            "INFO - probe: AccessDenied: User: x is not authorized to perform: kms:Decrypt on the resource",
        ),
    ),
    ("configuration", story("ConnectionError: HTTPConnectionPool(host='None', port=80): Failed to resolve 'None'")),
    ("rate_limit", story("ValueError: expected 30 pages, got 17", "WARNING - page 18: HTTP 429 Too Many Requests")),
)


@pytest.mark.parametrize(("expected", "told"), STORIES)
def test_a_log_is_read_as_an_engineer_reads_it(expected: str, told: Story) -> None:
    """The cause is found behind the symptom, and every quote stands in what was read."""
    diagnosis = rules.diagnose(None, told.log, told.evidence)
    assert diagnosis.category.value in expected.split(",")
    assert check_quotes(diagnosis, (*from_log(told.log), *told.evidence)) == diagnosis
