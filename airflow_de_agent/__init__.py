"""Tells the on-call data engineer within seconds why an Airflow task failed.

`diagnose_on_failure` is an ``on_failure_callback``; `DiagnoseOnFailure(slack_channel=…)` is one with a channel of its
own. Both are loaded on first use, as this package is imported wherever a DAG is parsed.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers read it; importing typing would be most of what this module costs
if TYPE_CHECKING:
    from airflow_de_agent.airflow.callback import DiagnoseOnFailure, diagnose_on_failure

__version__ = "0.1.0"
__all__ = ["DiagnoseOnFailure", "__version__", "diagnose_on_failure"]


def __getattr__(name: str) -> object:
    if name in ("diagnose_on_failure", "DiagnoseOnFailure"):
        from airflow_de_agent.airflow import callback

        return getattr(callback, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
