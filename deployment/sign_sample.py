"""Sign the sample event afresh, so that the function takes it: Slack's signatures are good for five minutes.

    python deployment/sign_sample.py > /tmp/event.json
    aws lambda invoke --function-name de-agent-test:live --cli-binary-format raw-in-base64-out \
        --payload file:///tmp/event.json /dev/stdout

The signing secret is SLACK_SIGNING_SECRET, else that of the secret de-agent/slack in AWS Secrets Manager. `--text`,
`--channel` and `--event-id` change what is said, where, and which event it is (a new one each time).
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[1] / "tests" / "sample_event.json"


def signature(secret: str, timestamp: str, body: str) -> str:
    """Slack's signature, version 0."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{timestamp}:{body}".encode(), hashlib.sha256).hexdigest()


def signed(event: dict[str, Any], secret: str, now: float) -> dict[str, Any]:
    """The event with a signature of now."""
    timestamp = str(int(now))
    headers = {"x-slack-request-timestamp": timestamp, "x-slack-signature": signature(secret, timestamp, event["body"])}
    return {**event, "headers": {**event["headers"], **headers}}


def sample(text: str = "", channel: str = "", event_id: str = "", now: float | None = None) -> dict[str, Any]:
    """The sample mention, with another text, channel, id and time."""
    event: dict[str, Any] = json.loads(SAMPLE.read_text())
    body = json.loads(event["body"])
    moment = f"{time.time() if now is None else now:.6f}"
    body["event"] |= {"ts": moment, "event_ts": moment}
    body["event"] |= {name: value for name, value in (("text", text), ("channel", channel)) if value}
    body["event_id"] = event_id or f"Ev{uuid.uuid4().hex[:10].upper()}"
    return {**event, "body": json.dumps(body)}


def _secret() -> str:
    if "SLACK_SIGNING_SECRET" in os.environ:
        return os.environ["SLACK_SIGNING_SECRET"]
    try:
        import boto3

        answer = boto3.client("secretsmanager").get_secret_value(SecretId="de-agent/slack")
        return str(json.loads(answer["SecretString"])["signing_secret"])
    except Exception as exc:  # noqa: BLE001 - whatever AWS, its SDK or the secret lacks, the cure is the same
        why = f"{type(exc).__name__}: {exc}".splitlines()[0]
        raise SystemExit(
            f"no signing secret: set SLACK_SIGNING_SECRET, or give AWS credentials and a region with which "
            f"de-agent/slack can be read ({why})"
        ) from None


def main() -> None:
    """Print the signed event."""
    parser = argparse.ArgumentParser(description="Sign the sample event afresh.")
    parser.add_argument("--text", default="", help="what is said; default: why did sales_etl fail?")
    parser.add_argument("--channel", default="", metavar="ID", help="where it is said")
    parser.add_argument("--event-id", default="", metavar="ID", help="which event it is; default: a new one")
    given = parser.parse_args()
    event = sample(given.text, given.channel, given.event_id)
    json.dump(signed(event, _secret(), time.time()), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
