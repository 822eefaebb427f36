"""Airflow as MWAA runs it, its task logs in CloudWatch: the diagnosis carries the whole log on both majors."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests import airflow_host, aws_servers

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]
aws = aws_servers.aws
GROUP = "airflow-prod-Task"


@pytest.mark.parametrize("major", [2, 3])
def test_the_cause_is_found_in_cloudwatch(major: int, aws, postgres: str, tmp_path: Path) -> None:
    """The cause stands early in a long log that no local file keeps once the task has ended."""
    aws.client("logs").create_log_group(logGroupName=GROUP)
    region = aws_servers.CREDENTIALS["region_name"]
    connection = {
        "conn_type": "aws",
        "login": aws_servers.CREDENTIALS["aws_access_key_id"],
        "password": aws_servers.CREDENTIALS["aws_secret_access_key"],
        "extra": {"region_name": region},
    }
    extra = {
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_DEFAULT_REGION": region,
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "aws_default",
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": f"cloudwatch://arn:aws:logs:{region}:123456789012:log-group:{GROUP}",
        "AIRFLOW__DE_AGENT__TASK_LOG_GROUP": GROUP,
        "AIRFLOW__DE_AGENT__DEADLINE_SECONDS": "60",
    }
    host = airflow_host.AirflowHost(
        airflow_host.ROOT / ".venv" / f"airflow{major}",
        tmp_path / "airflow",
        Path(__file__).parent / "dags_cloudwatch",
        airflow_host.create_database(postgres, f"cloudwatch{major}"),
        extra=extra,
    )
    try:
        host.start()
        found = None
        until = time.monotonic() + 150
        while time.monotonic() < until and (found is None or found["category"] != "authentication"):
            time.sleep(2)
            found = next(iter(host.diagnoses()), None)
    finally:
        host.stop()
    assert found is not None
    assert found["category"] == "authentication"
    assert any("password authentication failed" in quote["quote"] for quote in found["evidence"])
