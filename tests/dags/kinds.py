"""One DAG for each way in which a task can fail; each starts by itself, once. Runs on both majors."""

from __future__ import annotations

import datetime
import os
import signal
import sys
import time
from pathlib import Path

from airflow.exceptions import AirflowFailException

try:
    from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, task
except ImportError:
    from airflow.decorators import task
    from airflow.models import DAG, BaseOperator
    from airflow.sensors.base import BaseSensorOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def dag(name, **options):
    return DAG(name, schedule="@once", start_date=START, catchup=True, **options)


def parent_of_task():
    """The supervisor of this task process."""
    return os.getppid()


with dag("ordinary"):

    @task
    def transform():
        print("reading 42 orders")
        {}["customer_id"]

    transform()

with dag("fail_at_once"):

    @task(retries=3)
    def check():
        raise AirflowFailException("contract violated: 3 columns instead of 4")

    check()

with dag("too_slow"):

    @task(execution_timeout=datetime.timedelta(seconds=2))
    def crunch():
        time.sleep(60)

    crunch()

with dag("leaves"):

    @task
    def leave():
        sys.exit(3)

    leave()

with dag("retried"):

    @task(retries=1, retry_delay=datetime.timedelta(seconds=1))
    def flaky():
        raise ConnectionError("the vendor API is down")

    flaky()

with dag("mapped"):

    @task
    def load(number):
        if number != 1:
            raise ValueError(f"part {number} has no header")

    load.expand(number=[0, 1, 2])

with dag("killed"):

    @task
    def eat_memory():
        print("allocating", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    eat_memory()

with dag("lost"):

    @task
    def vanish():
        print("the worker goes away", flush=True)
        os.kill(parent_of_task(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    vanish()


class WaitForNothing(BaseSensorOperator):
    def poke(self, context):
        return False


with dag("sensor_timeout"):
    WaitForNothing(task_id="wait_for_file", timeout=2, poke_interval=1, mode="poke")


class BrokenTrigger(BaseTrigger):
    def serialize(self):
        return (f"{type(self).__module__}.{type(self).__qualname__}", {})

    async def run(self):
        raise RuntimeError("the job's API answered 500")
        yield TriggerEvent({})


class Deferred(BaseOperator):
    def execute(self, context):
        self.defer(trigger=BrokenTrigger(), method_name="resume")

    def resume(self, context, event=None):
        return event


with dag("trigger_fails"):
    Deferred(task_id="wait_for_job")


def broken_user_callback(context):
    raise RuntimeError("the user's own callback is broken")


with dag("user_callback_raises"):

    @task(on_failure_callback=broken_user_callback)
    def publish():
        raise ValueError("no rows to publish")

    publish()

with dag("explicit"):
    from airflow_de_agent import DiagnoseOnFailure

    @task(on_failure_callback=[DiagnoseOnFailure(slack_channel="#sales-oncall")])
    def export():
        raise FileNotFoundError("/data/in/orders.csv")

    export()

with dag("recovers"):

    @task
    def fetch_rates():
        if not Path(os.environ["AIRFLOW_HOME"], "vendor_is_up").exists():
            raise EOFError("the vendor closed the connection in the middle of rates.csv")

    fetch_rates()

with dag("opted_out", tags=["no-de-agent"]):

    @task
    def ignored():
        raise ValueError("nobody wants to know")

    ignored()

with dag("chain"):

    @task
    def first():
        raise KeyError("region")

    @task
    def second():
        return 1

    @task(trigger_rule="all_done")
    def report(value):
        raise TypeError("unsupported operand type(s): NoneType and int")

    one, two = first(), second()
    one >> two
    last = report(1)
    two >> last
