"""The table of failure families: one file per family of systems, one row per failure (see `signature.Signature`).

To teach the product a failure that it does not know, add a row to the file of its system, or to your own YAML file in
the same shape (see `user_rules`). No code changes.
"""

from __future__ import annotations

import functools
import importlib

from airflow_de_agent.core.signatures.signature import Signature

FAMILIES = (
    "airflow",
    "aws",
    "aws_data",
    "databases",
    "warehouses",
    "dbt",
    "spark",
    "kubernetes",
    "network",
    "python",
    "dataframes",
    "system",
    "programs",
    "generic",
)


@functools.lru_cache(maxsize=1)
def table() -> tuple[Signature, ...]:
    """Every row, read at the first diagnosis so that importing the rules costs nothing."""
    return tuple(row for family in FAMILIES for row in _rows(family))


def _rows(family: str) -> tuple[Signature, ...]:
    rows: tuple[Signature, ...] = importlib.import_module(f"{__name__}.{family}").SIGNATURES
    return rows
