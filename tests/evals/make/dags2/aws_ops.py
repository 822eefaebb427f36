"""Tasks that run work on AWS through the operators of the Amazon provider."""

# ruff: noqa: E501 - commands and statements stand on one line, as their logs do

import logging
from datetime import datetime

import boto3
from airflow import DAG
from airflow.decorators import dag, task
from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.providers.amazon.aws.operators.batch import BatchOperator
from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator
from airflow.providers.amazon.aws.operators.emr import EmrAddStepsOperator
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.providers.amazon.aws.operators.step_function import StepFunctionStartExecutionOperator
from airflow.providers.amazon.aws.sensors.step_function import StepFunctionExecutionSensor

log = logging.getLogger("airflow.task")
DAILY = {"schedule": "@daily", "start_date": datetime(2026, 11, 20), "catchup": False}
DWH = {"cluster_identifier": "acme-dwh", "database": "dwh", "db_user": "etl_svc", "poll_interval": 1}
FARGATE = {"cluster": "processing", "launch_type": "FARGATE", "waiter_delay": 1}

for dag_id, task_id, job in (
    ("sessions_stitch", "stitch", "sessions-stitch"),
    ("ledger_export_glue", "export_ledger", "ledger-export"),
):
    with DAG(dag_id, **DAILY):
        GlueJobOperator(task_id=task_id, job_name=job, job_poll_interval=1)

for dag_id, task_id, sql in (
    (
        "shipments_load",
        "copy_shipments",
        "copy staging.shipments from 's3://acme-landing/shipments/' iam_role default csv",
    ),
    ("gl_extract", "extract_gl", "select * from finance.gl_entries"),
    ("inventory_reset", "delete_inventory", "delete from mart.inventory where snapshot_day < '2026-11-01'"),
    ("web_events_dedupe", "dedupe", "create table mart.web_dedup as select distinct * from staging.web_evnts"),
    (
        "price_merge",
        "merge_prices",
        "merge into mart.prices using staging.prices on prices.sku = staging.prices.sku when matched then update set price = staging.prices.price",
    ),
):
    with DAG(dag_id, **DAILY):
        RedshiftDataOperator(task_id=task_id, sql=sql, **DWH)

for dag_id, task_id, sql in (
    ("vendor_feed_check", "check_feed", "select count(*) from lake.vendor_feed"),
    ("partner_revenue", "sum_revenue", "select sum(revenue) from lake.partners"),
):
    with DAG(dag_id, **DAILY):
        AthenaOperator(
            task_id=task_id, query=sql, database="lake", output_location="s3://acme-athena-results/prod/",
            sleep_time=1, region_name="eu-west-1",
        )  # fmt: skip

for dag_id, task_id, step in (("emr_geo", "add_geo_step", "spark-geo"), ("emr_dims", "add_dims_step", "spark-dims")):
    with DAG(dag_id, **DAILY):
        EmrAddStepsOperator(
            task_id=task_id, job_flow_id="j-2AXXXXXXGAPLF", wait_for_completion=True, waiter_delay=1, waiter_max_attempts=3,
            steps=[{"Name": step, "ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit", f"s3://acme-code/{step}.py"]}}],
        )  # fmt: skip

for dag_id, task_id, name in (
    ("tile_render", "run_tile_render", "tile-render"),
    ("feed_pack", "run_feed_pack", "feed-pack"),
):
    with DAG(dag_id, **DAILY):
        EcsRunTaskOperator(
            task_id=task_id, task_definition=f"{name}:12", overrides={"containerOverrides": []}, **FARGATE
        )

with DAG("invoice_ocr", **DAILY):
    BatchOperator(task_id="run_ocr", job_name="invoice-ocr", job_definition="d:3", job_queue="q", region_name="eu-west-1",
                  max_retries=1, status_retries=1, poll_interval=1, submit_job_timeout=10)  # fmt: skip

for dag_id, task_id, name in (
    ("lead_scoring", "invoke_score_leads", "score-leads"),
    ("webhook_ingest", "invoke_ingest", "ingest-webhooks"),
):
    with DAG(dag_id, **DAILY):
        LambdaInvokeFunctionOperator(task_id=task_id, function_name=name, payload='{"day": "2026-11-21"}')

with DAG("fraud_train", **DAILY):
    SageMakerTrainingOperator(
        task_id="train_fraud", wait_for_completion=False, check_if_job_exists=False,
        config={"TrainingJobName": "fraud-2026", "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
                "RoleArn": "arn:aws:iam::123456789012:role/sagemaker-train", "OutputDataConfig": {"S3OutputPath": "s3://acme-ml/out"},
                "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600}},
    )  # fmt: skip

with DAG("order_flow", **DAILY):
    StepFunctionStartExecutionOperator(
        task_id="start_flow", state_machine_arn="arn:aws:states:eu-west-1:123456789012:stateMachine:order-flow"
    ) >> StepFunctionExecutionSensor(
        task_id="wait_for_flow", poke_interval=1, timeout=20,
        execution_arn="arn:aws:states:eu-west-1:123456789012:execution:order-flow:7f3d",
    )  # fmt: skip


@dag(**DAILY)
def signed_upload():
    @task
    def upload():
        log.info(
            "config: {'bucket': 'acme-signed', 'aws_secret_access_key': 'FAKEfake+FAKEfakeFAKEfake/FAKEfakeFAKEfa'}"
        )
        return boto3.client("s3").get_object(Bucket="acme-signed", Key="x.json")

    upload()


signed_upload()
