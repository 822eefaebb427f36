"""Secrets go, what only looks like one stays. Fake secrets are put together here, so that no scanner takes them up."""

from airflow_de_agent.core.redaction import Redactor


def test_equal_secrets_get_equal_placeholders():
    """A secret assigned once is replaced by the same placeholder where it stands alone."""
    secret = "hunter2" + "xyz"
    text = Redactor().redact(f"connect(password='{secret}')\nretry with {secret} failed")
    assert text == "connect(password='[REDACTED:password#1]')\nretry with [REDACTED:password#1] failed"
