"""Answers of AWS services, by operation and by a text of the request: published error texts under invented names."""

# ruff: noqa: E501 - a table, one case a line
# fmt: off

from __future__ import annotations

import hashlib
from typing import Any

ROLE = "arn:aws:sts::123456789012:assumed-role/acme-mwaa-execution/AmazonMWAA-airflow"


def xml(code: str, message: str, extra: str = "") -> str:
    """An S3 error document."""
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>'


def sts(code: str, message: str) -> str:
    """An STS error document."""
    return f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"


def glue(job: str, state: str, message: str = "") -> list[tuple[str, str, int, Any]]:
    """A Glue job that ends in a state; the message is in its CloudWatch stream too."""
    run = {"Id": "jr_" + hashlib.sha256(job.encode()).hexdigest(), "JobName": job, "JobRunState": state, "LogGroupName": "/aws-glue/jobs", "StartedOn": 1795311000}
    run |= {"ErrorMessage": message} if message else {}
    events = [{"timestamp": 1795312000000, "message": text, "logStreamName": run["Id"]} for text in message.split("\n")]
    return [("FilterLogEvents", run["Id"], 200, {"events": events}), ("GetJobRun", job, 200, {"JobRun": run}), ("GetJob", job, 200, {"Job": {"Name": job, "Role": "glue-etl"}}),
            ("StartJobRun", job, 200, {"JobRunId": run["Id"]})]


def redshift(text: str, query_id: str, state: str, error: str = "") -> list[tuple[str, str, int, Any]]:
    """A statement of the Redshift Data API that ends in a state; `text` is a part of its SQL."""
    told = {"Id": query_id, "Status": state, "ResultRows": -1, "RedshiftPid": 1073905, "RedshiftQueryId": 48813307, "Error": error}
    return [("ExecuteStatement", text, 200, {"Id": query_id, "ClusterIdentifier": "acme-dwh"}), ("DescribeStatement", query_id, 200, told)]


def athena(text: str, query_id: str, reason: str, state: str = "FAILED") -> list[tuple[str, str, int, Any]]:
    """An Athena query that ends in a state; `text` is a part of its SQL."""
    status = {"State": state, "StateChangeReason": reason}
    return [("StartQueryExecution", text, 200, {"QueryExecutionId": query_id}),
            ("GetQueryExecution", query_id, 200, {"QueryExecution": {"QueryExecutionId": query_id, "Status": status}})]


def emr(step: str, step_id: str, state: str, details: dict[str, str]) -> list[tuple[str, str, int, Any]]:
    """An EMR step that ends in a state."""
    told = {"Step": {"Id": step_id, "Name": step, "Status": {"State": state, "FailureDetails": details}}}
    return [("AddJobFlowSteps", step, 200, {"StepIds": [step_id]}), ("DescribeStep", step_id, 200, told)]


def ecs(task: str, reason: str, container: dict[str, Any], stop_code: str = "EssentialContainerExited") -> list[tuple[str, str, int, Any]]:
    """An ECS task that stops for a reason."""
    arn = f"arn:aws:ecs:eu-west-1:123456789012:task/processing/{task}-0f1e2d3c4b5a69788796a5b4"
    running = {"taskArn": arn, "lastStatus": "RUNNING", "containers": []}
    stopped = {"taskArn": arn, "lastStatus": "STOPPED", "stoppedReason": reason, "stopCode": stop_code,
               "containers": [{"name": task, "lastStatus": "STOPPED", **container}]}
    return [("RunTask", task, 200, {"tasks": [running], "failures": []}), ("DescribeTasks", task, 200, {"tasks": [stopped], "failures": []})]


def batch(job: str, job_id: str, reason: str, container: dict[str, Any]) -> list[tuple[str, str, int, Any]]:
    """A Batch job that fails for a reason."""
    told = {"jobId": job_id, "jobName": job, "status": "FAILED", "statusReason": reason, "container": container, "jobQueue": "q", "startedAt": 1, "jobDefinition": "d"}
    return [("/v1/submitjob", job, 200, {"jobId": job_id, "jobName": job}), ("/v1/describejobs", job_id, 200, {"jobs": [told]})]


def function(name: str, kind: str, payload: Any) -> list[tuple[str, str, int, Any]]:
    """A Lambda function that returns an error payload."""
    return [("/invocations", name, 200, {"__headers": {"x-amz-function-error": kind, "x-amz-executed-version": "$LATEST"}, "__payload": payload})]


def error(operation: str, text: str, code: str, message: str, status: int = 400) -> list[tuple[str, str, int, Any]]:
    """A JSON error of an operation."""
    return [(operation, text, status, {"__type": code, "message": message, "Message": message})]


AWS_ANSWERS: list[tuple[str, str, int, Any]] = [
    *glue("orders-curate", "FAILED", "An error occurred while calling o143.pyWriteDynamicFrame. Exception thrown in awaitResult: Job aborted due to stage failure: Task 11 in stage 4.0 failed 4 times, most recent failure: Lost task 11.3 in stage 4.0 (TID 402) (172.35.12.8 executor 7): ExecutorLostFailure (executor 7 exited caused by one of the running tasks) Reason: Remote RPC client disassociated. Likely due to containers exceeding thresholds, or network issues. Check driver logs for WARN messages. java.lang.OutOfMemoryError: GC overhead limit exceeded"),
    *glue("sessions-stitch", "TIMEOUT", "Job run exceeded the timeout of 60 minutes."),
    *glue("ledger-export", "STOPPED"),
    *glue("catalog-enrich", "FAILED"),
    *glue("crm-pull", "FAILED", "Exception: Unable to execute HTTP request: Connect to secretsmanager.eu-west-1.amazonaws.com:443 failed: connect timed out. Check the route table of the subnet of the Glue connection"),
    *error("StartJobRun", "inventory-diff", "ConcurrentRunsExceededException", "Concurrent runs exceeded for inventory-diff"),
    ("GetJob", "inventory-diff", 200, {"Job": {"Name": "inventory-diff", "Role": "glue-etl"}}),
    *redshift("insert into mart.sessions_daily", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e01", "FAILED", "ERROR: 1023\n  Detail: Serializable isolation violation on table - 2391047, transactions forming the cycle are: 91837465, 91837521 (pid:1073905)"),
    *redshift("create table mart.wide_events", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e02", "FAILED", "ERROR: Disk Full\n  Detail: \n  -----------------------------------------------\n  error:  Disk Full\n  code:      1016\n  context:   node: 3\n  query:     48813307\n  location:  fdisk_api.cpp:343\n  process:   query3_127_48813307 [pid=8234]\n  -----------------------------------------------"),
    *redshift("copy staging.shipments", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e03", "FAILED", "ERROR: Load into table 'shipments' failed.  Check 'stl_load_errors' system table for details."),
    *redshift("copy staging.returns", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e04", "FAILED", "ERROR: The specified S3 prefix 'returns/dt=2026-11-21/' does not exist\n  Detail: \n  -----------------------------------------------\n  error:  The specified S3 prefix 'returns/dt=2026-11-21/' does not exist\n  code:      8001\n  context:   \n  query:     48813312\n  location:  s3_utility.cpp:686\n  process:   padbmaster [pid=1073905]\n  -----------------------------------------------"),
    *redshift("from finance.gl_entries", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e05", "FAILED", "ERROR: permission denied for schema finance"),
    *redshift("delete from mart.inventory", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e06", "ABORTED", "ERROR: Query (48813307) cancelled on user's request"),
    *redshift("call refresh_margins", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e07", "FAILED", "ERROR: Query (48813307) cancelled by WLM abort action of Query Monitoring Rule \"abort_over_30_min\""),
    *redshift("from staging.web_evnts", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e08", "FAILED", "ERROR: relation \"staging.web_evnts\" does not exist"),
    *redshift("unload ('select", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e09", "FAILED", "ERROR: User arn:aws:redshift:eu-west-1:123456789012:dbuser:acme-dwh/etl_svc is not authorized to assume IAM Role arn:aws:iam::123456789012:role/redshift-unload\n  Detail: \n  -----------------------------------------------\n  error:  User arn:aws:redshift:eu-west-1:123456789012:dbuser:acme-dwh/etl_svc is not authorized to assume IAM Role arn:aws:iam::123456789012:role/redshift-unload\n  code:      8001\n  context:   IAM Role=arn:aws:iam::123456789012:role/redshift-unload\n  query:     48813320\n  location:  xen_aws_credentials_mgr.cpp:537\n  process:   padbmaster [pid=1073905]\n  -----------------------------------------------"),
    *redshift("merge into mart.prices", "3f1c0a52-8d7e-4b1a-9c6d-1a2b3c4d5e10", "FAILED", "ERROR: numeric field overflow\n  Detail: A field with precision 10, scale 2 must round to an absolute value less than 10^8."),
    *athena("from web.sessions_raw", "a1b2c3d4-0001-4e5f-8a9b-000000000001", "HIVE_BAD_DATA: Error parsing field value 'n/a' for field 7: For input string: \"n/a\". This query ran against the \"web\" database, unless qualified by the query."),
    *athena("from web.clicks_wide", "a1b2c3d4-0001-4e5f-8a9b-000000000002", "Query exhausted resources at this scale factor. This query ran against the \"web\" database, unless qualified by the query."),
    *athena("from lake.vendor_feed", "a1b2c3d4-0001-4e5f-8a9b-000000000003", "Access denied when writing output to url: s3://acme-athena-results/prod/a1b2c3d4-0001-4e5f-8a9b-000000000003.csv . Please ensure you are allowed to access the S3 bucket. If specifying an expected bucket owner, confirm the bucket is owned by the expected account. If you are encrypting query results with KMS key, please ensure you are allowed to access your KMS key"),
    *athena("from lake.partners", "a1b2c3d4-0001-4e5f-8a9b-000000000004", "HIVE_PARTITION_SCHEMA_MISMATCH: There is a mismatch between the table and partition schemas. The types are incompatible and cannot be coerced. The column 'revenue' in table 'lake.partners' is declared as type 'double', but partition 'dt=2026-11-21' declared column 'revenue' as type 'string'."),
    *error("StartQueryExecution", "from lake.hourly", "TooManyRequestsException", "You have exceeded the limit for the number of queries you can run concurrently. Please reduce the number of concurrent queries submitted by this account. Contact customer support to request a concurrent query limit increase."),
    *emr("spark-rollup", "s-1A2B3C4D5E6F7", "FAILED", {"Reason": "Unknown Error.", "Message": "Exception in thread \"main\" org.apache.spark.SparkException: Application application_1763771200441_0093 finished with failed status", "LogFile": "s3://acme-emr-logs/j-2AXXXXXXGAPLF/steps/s-1A2B3C4D5E6F7/stderr.gz"}),
    *emr("spark-sessions", "s-2A2B3C4D5E6F7", "FAILED", {"Reason": "org.apache.spark.SparkException: Job aborted due to stage failure: Task 117 in stage 6.0 failed 4 times, most recent failure: Lost task 117.3 in stage 6.0 (TID 2309) (ip-10-20-3-71.eu-west-1.compute.internal executor 41): ExecutorLostFailure (executor 41 exited caused by one of the running tasks) Reason: Container killed by YARN for exceeding physical memory limits. 11.1 GB of 11 GB physical memory used. Consider boosting spark.executor.memoryOverhead.", "Message": "Exception in thread \"main\" org.apache.spark.SparkException: Job aborted due to stage failure", "LogFile": "s3://acme-emr-logs/j-2AXXXXXXGAPLF/steps/s-2A2B3C4D5E6F7/stderr.gz"}),
    *emr("spark-geo", "s-3A2B3C4D5E6F7", "FAILED", {"Reason": "The master node was terminated.", "Message": "Cluster j-2AXXXXXXGAPLF terminated: Spot Instances of the primary node were reclaimed because of spot interruption", "LogFile": ""}),
    *emr("spark-dims", "s-4A2B3C4D5E6F7", "CANCELLED", {"Reason": "CANCELLED_BY_USER", "Message": "Step cancelled by user arn:aws:iam::123456789012:user/j.weber", "LogFile": ""}),
    ("DescribeCluster", "", 200, {"Cluster": {"Id": "j-2AXXXXXXGAPLF", "Name": "acme-batch", "LogUri": "s3n://acme-emr-logs/", "Status": {"State": "WAITING"}}}),
    *ecs("price-sim", "Essential container in task exited", {"exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}),
    *ecs("tile-render", "Your Spot Task was interrupted.", {"exitCode": 143}, "SpotInterruption"),
    *ecs("img-resize", "CannotPullContainerError: ref pull has been retried 1 time(s): failed to extract layer sha256:5c27ab07b4: write /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/218/fs/opt/conda/lib/libtorch_cuda.so: no space left on device", {}, "TaskFailedToStart"),
    *ecs("feed-pack", "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref 123456789012.dkr.ecr.eu-west-1.amazonaws.com/feed-pack:2026.11.3: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/feed-pack:2026.11.3: not found", {}, "TaskFailedToStart"),
    ("RunTask", "route-opt", 200, {"tasks": [], "failures": [{"arn": "arn:aws:ecs:eu-west-1:123456789012:container-instance/processing", "reason": "Capacity is unavailable at this time. Please try again later or in a different availability zone"}]}),
    *batch("genome-align", "0c1d2e3f-4a5b-4c6d-8e7f-000000000001", "Job attempt duration exceeded timeout", {"exitCode": 137, "reason": ""}),
    *batch("invoice-ocr", "0c1d2e3f-4a5b-4c6d-8e7f-000000000002", "Essential container in task exited", {"exitCode": 1, "reason": ""}),
    *batch("nightly-sim", "0c1d2e3f-4a5b-4c6d-8e7f-000000000003", "Dependent Job failed", {}),
    *function("partner-sync", "Unhandled", {"errorMessage": "RequestId: 5d1f9a1e-0000-4a6e-9d52-2f2f9c1a0001 Error: Runtime exited with error: exit status 1", "errorType": "Runtime.ExitError"}),
    *function("fx-convert", "Unhandled", {"errorMessage": "Unable to import module 'app': No module named 'pydantic_core._pydantic_core'", "errorType": "Runtime.ImportModuleError", "requestId": "5d1f9a1e-0000-4a6e-9d52-2f2f9c1a0002", "stackTrace": []}),
    *function("score-leads", "Unhandled", {"errorMessage": "2026-11-22T02:14:19.114Z 5d1f9a1e-0000-4a6e-9d52-2f2f9c1a0003 Task timed out after 60.06 seconds"}),
    *function("ingest-webhooks", "Unhandled", {"errorMessage": "'customer_id'", "errorType": "KeyError", "requestId": "5d1f9a1e-0000-4a6e-9d52-2f2f9c1a0004", "stackTrace": ["  File \"/var/task/app.py\", line 41, in handler\n    key = event[\"customer_id\"]\n"]}),
    *function("geo-enrich", "Unhandled", {"errorType": "Runtime.ExitError", "errorMessage": "RequestId: 5d1f9a1e-0000-4a6e-9d52-2f2f9c1a0005 Error: Runtime exited without providing a reason"}),
    *error("CreateTrainingJob", "churn-2026", "ResourceLimitExceeded", "The account-level service limit 'ml.g5.12xlarge for training job usage' is 0 Instances, with current utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to request an increase for this quota."),
    *error("CreateTrainingJob", "fraud-2026", "AccessDeniedException", f"User: {ROLE} is not authorized to perform: iam:PassRole on resource: arn:aws:iam::123456789012:role/sagemaker-train because no identity-based policy allows the iam:PassRole action"),
    *error("PutItem", "feature-flags", "ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API."),
    *error("PutRecords", "clickstream", "ResourceNotFoundException", "Stream clickstream-prod under account 123456789012 not found."),
    *error("GetSecretValue", "prod/erp", "AccessDeniedException", f"User: {ROLE} is not authorized to perform: secretsmanager:GetSecretValue on resource: prod/erp because no identity-based policy allows the secretsmanager:GetSecretValue action"),
    *error("StartExecution", "close-books", "ThrottlingException", "Rate exceeded"),
    ("StartExecution", "order-flow", 200, {"executionArn": "arn:aws:states:eu-west-1:123456789012:execution:order-flow:7f3d", "startDate": 1763771200}),
    ("DescribeExecution", "order-flow", 200, {"executionArn": "arn:aws:states:eu-west-1:123456789012:execution:order-flow:7f3d", "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:order-flow", "name": "7f3d", "status": "FAILED", "startDate": 1763771200, "output": "{}", "error": "States.TaskFailed", "cause": "{\"Error\":\"ChildWorkflowFailed\",\"Cause\":\"Execution arn:aws:states:eu-west-1:123456789012:execution:order-pack:91c2 started by this state machine ended with status FAILED\"}"}),
    *error("SendMessage", "events-out", "ServiceUnavailable", "Service is currently unavailable. Please try again later.", 503),
    ("AssumeRole", "cross-account-reader", 403, sts("AccessDenied", f"User: {ROLE} is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::210987654321:role/cross-account-reader")),
    ("AssumeRole", "expired", 403, sts("ExpiredToken", "The security token included in the request is expired")),
    ("GET /acme-landing/erp/2026-11-21/invoices.json", "", 404, xml("NoSuchKey", "The specified key does not exist.", "<Key>erp/2026-11-21/invoices.json</Key>")),
    ("PUT /acme-curated/", "", 403, xml("AccessDenied", f"User: {ROLE} is not authorized to perform: s3:PutObject on resource: &quot;arn:aws:s3:::acme-curated/revenue/2026-11-21.parquet&quot; because no identity-based policy allows the s3:PutObject action")),
    ("/acme-lnding", "", 404, xml("NoSuchBucket", "The specified bucket does not exist", "<BucketName>acme-lnding</BucketName>")),
    ("/acme-us-archive", "", 400, xml("IllegalLocationConstraintException", "The us-east-2 location constraint is incompatible for the region specific endpoint this request was sent to.")),
    ("/acme-events", "", 503, xml("SlowDown", "Please reduce your request rate.")),
    ("/acme-expired/", "", 400, xml("ExpiredToken", "The provided token has expired.")),
    ("/acme-signed/", "", 403, xml("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")),
    ("HEAD /acme-drop/", "", 404, ""),
]
