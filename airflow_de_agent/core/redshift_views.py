"""What Amazon Redshift keeps about failures: its system views, how to ask them, and which GRANT opens them.

Columns as documented for SYS_QUERY_HISTORY, SYS_LOAD_ERROR_DETAIL, SYS_LOAD_HISTORY, STL_LOAD_ERRORS,
STL_WLM_RULE_ACTION and SVV_TRANSACTIONS in the Amazon Redshift Database Developer Guide. A normal user sees its own
rows only, unless it has SYSLOG ACCESS UNRESTRICTED. SYS query ids are not STL query ids.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


@dataclasses.dataclass(frozen=True)
class RedshiftTarget:
    """A cluster or workgroup and how to log in: `secret_arn`, else `db_user`, else the caller's IAM identity."""

    database: str
    cluster_id: str = ""
    workgroup: str = ""
    secret_arn: str = ""
    db_user: str = ""

    @property
    def arguments(self) -> dict[str, str]:
        """As the Data API wants it; a secret holds the user, so no DbUser may stand beside it."""
        arguments = {"Database": self.database}
        if self.workgroup:
            arguments["WorkgroupName"] = self.workgroup
        elif self.cluster_id:
            arguments["ClusterIdentifier"] = self.cluster_id
        if self.secret_arn:
            arguments["SecretArn"] = self.secret_arn
        elif self.db_user and not self.workgroup:
            arguments["DbUser"] = self.db_user
        return arguments

    @property
    def name(self) -> str:
        """What people call it."""
        return self.workgroup or self.cluster_id or self.database


class View(NamedTuple):
    """One question. `fallback` is asked where the view does not exist; `optional` views may be absent."""

    name: str
    sql: str
    fallback: str = ""
    optional: bool = False


WINDOW = "BETWEEN CAST(:since AS TIMESTAMP) AND CAST(:until AS TIMESTAMP)"
# :query_ids is a text such as ",123,456,"; "," asks for none in particular
NAMED = "STRPOS(:query_ids, ',' || CAST({} AS VARCHAR) || ',') > 0"
VIEWS = (
    View(
        "SYS_QUERY_HISTORY",
        f"""SELECT query_id, transaction_id, session_id, database_name, query_type, status, start_time, end_time,
                   elapsed_time, queue_time, execution_time, error_message, query_text
            FROM sys_query_history
            WHERE {NAMED.format("query_id")}
               OR ((start_time {WINDOW} OR end_time {WINDOW})
                   AND (TRIM(status) IN ('failed', 'canceled') OR elapsed_time >= CAST(:slow_us AS BIGINT)))
            ORDER BY CASE WHEN {NAMED.format("query_id")} THEN 0
                          WHEN TRIM(status) IN ('failed', 'canceled') THEN 1 ELSE 2 END, start_time DESC
            LIMIT 50""",
    ),
    View(
        "SYS_LOAD_ERROR_DETAIL",
        f"""SELECT e.query_id, h.table_name, e.start_time, e.file_name, e.line_number, e.column_name, e.column_type,
                   e.column_length, e.position, e.error_code, e.error_message
            FROM sys_load_error_detail e LEFT JOIN sys_load_history h ON h.query_id = e.query_id
            WHERE {NAMED.format("e.query_id")} OR e.start_time {WINDOW}
            ORDER BY e.start_time DESC, e.line_number
            LIMIT 50""",
        fallback="STL_LOAD_ERRORS",
    ),
    View(
        "SVV_TRANSACTIONS",
        """SELECT txn_owner, txn_db, xid, pid, txn_start, lock_mode, relation, granted
           FROM svv_transactions
           WHERE relation IN (SELECT relation FROM svv_transactions WHERE NOT granted)
           ORDER BY granted, txn_start
           LIMIT 50""",
    ),
    View(
        "STL_WLM_RULE_ACTION",
        f"""SELECT query, service_class, rule, action, recordtime
            FROM stl_wlm_rule_action
            WHERE recordtime {WINDOW} AND TRIM(action) IN ('abort', 'log', 'hop')
            ORDER BY recordtime DESC
            LIMIT 50""",
        optional=True,  # only on provisioned clusters
    ),
)
STL_LOAD_ERRORS = View(
    "STL_LOAD_ERRORS",
    f"""SELECT query, tbl, starttime, filename, line_number, colname, type, col_length, position, raw_line,
               raw_field_value, err_code, err_reason
        FROM stl_load_errors
        WHERE starttime {WINDOW} OR {NAMED.format("query")}
        ORDER BY starttime DESC, line_number
        LIMIT 50""",
)
_PARAMETER = re.compile(r"(?<![:\w]):([A-Za-z_]\w*)")
_ONE_SELECT = re.compile(r"\s*(?:SELECT|WITH)\b[^;]*;?\s*\Z", re.IGNORECASE)
_QUERY_ID = re.compile(
    r"""(?: RedshiftQueryId ['"]? \s*[:=]\s* | \bquery_?\s?id ['"]? \s*[:=]?\s* | \b[Qq]uery\s+(?:ID:?\s*)? )
        ['"(]? (\d{3,19}) \b""",
    re.VERBOSE | re.IGNORECASE,
)
_NO_RELATION = re.compile(r'relation "?([\w.]+)"? does not exist', re.IGNORECASE)
_DENIED = re.compile(r"permission denied for (?:relation|table|view|schema) \"?([\w.]+)", re.IGNORECASE)


def parameters_of(sql: str) -> set[str]:
    """The names that an SQL text binds (``:name``, and not ``::type``)."""
    return set(_PARAMETER.findall(re.sub(r"'[^']*'", "", sql)))


def is_one_select(sql: str) -> bool:
    """Whether an SQL text is a single statement that only reads."""
    return _ONE_SELECT.match(re.sub(r"'[^']*'|--[^\n]*", "", sql)) is not None


def query_ids_in(text: str) -> tuple[int, ...]:
    """Query ids that a log or an error text names, each once, in order."""
    return tuple(dict.fromkeys(int(found) for found in _QUERY_ID.findall(text)))


def missing_relation(error: str) -> str:
    """The relation that an error says does not exist, or nothing."""
    found = _NO_RELATION.search(error)
    return found[1] if found else ""


def cure_of(error: str, target: RedshiftTarget) -> str:
    """What would mend the error text of a statement; empty when only the statement's owner can tell."""
    user = target.db_user or "the user of the Data API"
    denied = _DENIED.search(error)
    if denied:
        return f"GRANT SELECT ON {denied[1]} TO {user};"
    if "paused" in error.lower():
        return f"resume the cluster: aws redshift resume-cluster --cluster-identifier {target.name}"
    if re.search(r"password authentication failed|user .* does not exist", error, re.IGNORECASE):
        return f"correct the login of {target.name} (secret_arn or db_user) in the secret de-agent/redshift."
    if re.search(r"database .* does not exist", error, re.IGNORECASE):
        return "correct the database in the secret de-agent/redshift or the Redshift connection."
    return ""


def value_of(field: Mapping[str, Any]) -> Any:
    """One field of a Data API record: None for NULL, text without CHAR padding, bytes by their size."""
    if field.get("isNull"):
        return None
    name, value = next(iter(field.items()))
    if name == "blobValue":
        return f"<{len(value)} bytes>"
    if name != "stringValue":
        return value
    return str(value).rstrip().replace("\0", "")


def concerned(rows: Sequence[Mapping[str, Any]], query_ids: Iterable[int], tables: Iterable[str]) -> list[Any]:
    """The rows that name one of the queries or tables; all of them when none does, or nothing was named."""
    ids = {str(query_id) for query_id in query_ids}
    names = [table.lower().rpartition(".")[2] for table in tables]

    def fits(row: Mapping[str, Any]) -> bool:
        if str(row.get("query_id", row.get("query"))) in ids:
            return True
        text = f"{row.get('table_name') or ''} {row.get('query_text') or ''}".lower()
        return any(name in text for name in names)

    return [row for row in rows if fits(row)] or list(rows)
