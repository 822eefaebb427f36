"""Tasks that run work on AWS through the operators of the Amazon provider."""

# ruff: noqa: E501 - commands and statements stand on one line, as their logs do

import logging
import os
from datetime import datetime

import boto3
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.providers.amazon.aws.operators.batch import BatchOperator
from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator
from airflow.providers.amazon.aws.operators.emr import EmrAddStepsOperator
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.providers.amazon.aws.operators.step_function import StepFunctionStartExecutionOperator
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk import DAG, dag, task

log = logging.getLogger("airflow.task")
DAILY = {"schedule": "@daily", "start_date": datetime(2026, 11, 20), "catchup": False}
DWH = {"cluster_identifier": "acme-dwh", "database": "dwh", "db_user": "etl_svc", "poll_interval": 1}
FARGATE = {"cluster": "processing", "launch_type": "FARGATE", "waiter_delay": 1}

for dag_id, task_id, job in (
    ("orders_curate", "run_orders_curate", "orders-curate"),
    ("catalog_enrich", "run_catalog_enrich", "catalog-enrich"),
    ("inventory_diff", "run_inventory_diff", "inventory-diff"),
    ("crm_pull", "run_crm_pull", "crm-pull"),
):
    with DAG(dag_id, **DAILY):
        GlueJobOperator(
            task_id=task_id, job_name=job, job_poll_interval=1, verbose=job in ("orders-curate", "crm-pull")
        )

for dag_id, task_id, sql in (
    ("sessions_daily", "insert_sessions", "insert into mart.sessions_daily select * from staging.sessions"),
    (
        "wide_events",
        "ctas_wide",
        "create table mart.wide_events as select e.*, u.* from staging.events e cross join mart.users u",
    ),
    (
        "returns_copy",
        "copy_returns",
        "copy staging.returns from 's3://acme-landing/returns/dt=2026-11-21/' iam_role default format parquet",
    ),
    ("margins_proc", "call_margins", "call refresh_margins('2026-11-21')"),
    (
        "gl_unload",
        "unload_gl",
        "unload ('select * from mart.gl') to 's3://acme-finance/gl/' iam_role 'arn:aws:iam::123456789012:role/redshift-unload'",
    ),
):
    with DAG(dag_id, **DAILY):
        RedshiftDataOperator(task_id=task_id, sql=sql, **DWH)

for dag_id, task_id, sql in (
    ("sessions_athena", "clean_sessions", "select cast(f7 as bigint) from web.sessions_raw"),
    ("clicks_wide", "pivot_clicks", "select * from web.clicks_wide"),
    ("hourly_quality", "count_rows", "select count(*) from lake.hourly"),
):
    with DAG(dag_id, **DAILY):
        AthenaOperator(
            task_id=task_id, query=sql, database="web", output_location="s3://acme-athena-results/prod/",
            sleep_time=1, region_name="eu-west-1",
        )  # fmt: skip

for dag_id, task_id, step in (
    ("emr_rollup", "add_rollup_step", "spark-rollup"),
    ("emr_sessions", "add_sessions_step", "spark-sessions"),
):
    with DAG(dag_id, **DAILY):
        EmrAddStepsOperator(
            task_id=task_id, job_flow_id="j-2AXXXXXXGAPLF", wait_for_completion=True, waiter_delay=1, waiter_max_attempts=3,
            steps=[{"Name": step, "ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit", f"s3://acme-code/{step}.py"]}}],
        )  # fmt: skip

for dag_id, task_id, name in (
    ("price_sim", "run_price_sim", "price-sim"),
    ("img_resize", "run_img_resize", "img-resize"),
    ("route_opt", "run_route_opt", "route-opt"),
):
    with DAG(dag_id, **DAILY):
        EcsRunTaskOperator(
            task_id=task_id, task_definition=f"{name}:12", overrides={"containerOverrides": []}, **FARGATE
        )

for dag_id, task_id, job in (
    ("genome_align", "align_batch", "genome-align"),
    ("nightly_sim", "simulate", "nightly-sim"),
):
    with DAG(dag_id, **DAILY):
        BatchOperator(task_id=task_id, job_name=job, job_definition="d:3", job_queue="q", region_name="eu-west-1",
                      max_retries=1, status_retries=1, poll_interval=1, submit_job_timeout=10)  # fmt: skip

for dag_id, task_id, name in (
    ("partner_sync", "invoke_partner_sync", "partner-sync"),
    ("fx_convert", "invoke_fx_convert", "fx-convert"),
    ("geo_enrich", "invoke_geo_enrich", "geo-enrich"),
):
    with DAG(dag_id, **DAILY):
        LambdaInvokeFunctionOperator(task_id=task_id, function_name=name, payload='{"day": "2026-11-21"}')

with DAG("churn_train", **DAILY):
    SageMakerTrainingOperator(
        task_id="train_churn", wait_for_completion=False, check_if_job_exists=False,
        config={"TrainingJobName": "churn-2026", "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
                "RoleArn": "arn:aws:iam::123456789012:role/sagemaker-train", "OutputDataConfig": {"S3OutputPath": "s3://acme-ml/out"},
                "ResourceConfig": {"InstanceType": "ml.g5.12xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600}},
    )  # fmt: skip

with DAG("close_books_sfn", **DAILY):
    StepFunctionStartExecutionOperator(
        task_id="start_close", state_machine_arn="arn:aws:states:eu-west-1:123456789012:stateMachine:close-books"
    )

with DAG("supplier_drop", **DAILY):
    S3KeySensor(
        task_id="wait_for_drop",
        bucket_name="acme-drop",
        bucket_key="supplier/2026-11-21/_SUCCESS",
        poke_interval=1,
        timeout=4,
    )


@dag(**DAILY)
def erp_invoices():
    @task
    def read_invoices():
        url = ("https://acme-landing.s3.eu-west-1.amazonaws.com/erp/manifest.json?X-Amz-Algorithm=AWS4-HMAC-SHA256"
               "&X-Amz-Credential=ASIAFAKE0000EVAL0001%2F20261122%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20261122T020000Z"
               "&X-Amz-Signature=fa4e0000fa4e0000fa4e0000fa4e0000fa4e0000fa4e0000fa4e0000fa4e0000")  # fmt: skip
        log.info("manifest is at %s", url)
        return S3Hook().read_key("erp/2026-11-21/invoices.json", "acme-landing")

    read_invoices()


@dag(**DAILY)
def revenue_publish():
    @task
    def write_revenue():
        result = None
        try:
            log.info("writing s3://acme-curated/revenue/2026-11-21.parquet")
            result = boto3.client("s3").put_object(
                Bucket="acme-curated", Key="revenue/2026-11-21.parquet", Body=b"PAR1"
            )
        except Exception:
            log.exception("upload failed, publishing the old manifest instead")
        return result["VersionId"]

    write_revenue()


@dag(**DAILY)
def events_compact():
    @task
    def list_events():
        keys = boto3.client("s3").list_objects_v2(Bucket="acme-events", Prefix="dt=2026-11-21/")
        return len(keys["Contents"])

    @task
    def compact(count):
        log.info("%d files", count)

    compact(list_events())


@dag(**DAILY)
def landing_scan():
    @task
    def scan():
        return len(S3Hook().list_keys("acme-lnding", prefix="crm/"))

    scan()


@dag(**DAILY)
def us_archive():
    @task
    def copy_archive():
        return boto3.client("s3").copy_object(
            Bucket="acme-us-archive", Key="2026.tar", CopySource="acme-landing/2026.tar"
        )["CopyObjectResult"]

    copy_archive()


@dag(**DAILY)
def session_replay():
    @task
    def read_replay():
        key = "ASIAFAKE0000EVAL0002"
        secret = "FAKEfakeFAKEfake/FAKEfakeFAKEfake+FAKEfa"
        log.info("using session credentials aws_access_key_id=%s aws_secret_access_key=%s", key, secret)
        return boto3.client("s3").get_object(Bucket="acme-expired", Key="replay/1.json")

    read_replay()


@dag(**DAILY)
def cross_account_read():
    @task
    def assume():
        return boto3.client("sts").assume_role(
            RoleArn="arn:aws:iam::210987654321:role/cross-account-reader", RoleSessionName="airflow"
        )

    assume()


@dag(**DAILY)
def erp_secret():
    @task
    def read_secret():
        return boto3.client("secretsmanager").get_secret_value(SecretId="prod/erp")["SecretString"]

    read_secret()


@dag(**DAILY)
def flag_writer():
    @task
    def write_flags():
        table = boto3.resource("dynamodb").Table("feature-flags")
        for number in range(3):
            table.put_item(Item={"id": str(number)})

    write_flags()


@dag(**DAILY)
def click_stream_put():
    @task
    def put_clicks():
        boto3.client("kinesis").put_records(
            StreamName="clickstream-prod", Records=[{"Data": b"x", "PartitionKey": "1"}]
        )

    put_clicks()


@dag(**DAILY)
def events_out():
    @task
    def send_events():
        boto3.client("sqs").send_message(
            QueueUrl=os.environ["AWS_ENDPOINT_URL"] + "/123456789012/events-out", MessageBody="x"
        )

    send_events()


@dag(**DAILY)
def no_region():
    @task
    def list_tables():
        os.environ.pop("AWS_DEFAULT_REGION")
        return boto3.client("glue").get_tables(DatabaseName="lake")

    list_tables()


@dag(**DAILY)
def no_credentials():
    @task
    def list_buckets():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.pop(name)
        os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
        return boto3.client("s3").list_buckets()

    list_buckets()


for built in (
    erp_invoices, revenue_publish, events_compact, landing_scan, us_archive, session_replay, cross_account_read,
    erp_secret, flag_writer, click_stream_put, events_out, no_region, no_credentials,
):  # fmt: skip
    built()
