"""Airflow's REST API on Amazon MWAA: through InvokeRestApi, and where that is not to be had through a web login.

Rules kept here: paths stay under 64 characters (`RestApiPath` in the service model), so lists are asked for with ``~``
and a body; never more than 10 calls a second, 10 s and 6 MB each (MWAA user guide, Apache Airflow REST API).
"""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from airflow_de_agent.aws.calls import CallFailed, Calls, within

LOGINS = (("/pluginsv2/aws_mwaa/login", "v2"), ("/aws_mwaa/login", "v1"))  # Airflow 3, then Airflow 2
NO_INVOKE = "UnknownMethod"
REST_REMEDIES = {
    400: ("Airflow does not understand the request", "report this with your Airflow version"),
    401: ("Airflow does not accept the caller", "allow airflow:InvokeRestApi on the role Viewer of the environment"),
    403: ("Airflow forbids it", "map the caller to an Airflow role that may read DAG runs (Viewer)"),
    404: ("Airflow knows no such DAG or run", "check the dag_id, the run_id and the name of the environment"),
    429: ("Airflow is asked too often", "ask again later"),
}


class MwaaRest:
    """Reads one environment's REST API; remembers the way that worked."""

    def __init__(self, mwaa: Any, environment: str, deadline: float) -> None:
        resource = f"arn:aws:airflow:{mwaa.meta.region_name}:*:role/{environment}/Viewer"
        self._calls = Calls(mwaa, deadline, resource=resource, per_second=10)
        self._environment = environment
        self._web: _WebSession | None = None

    def get(self, path: str) -> dict[str, Any]:
        """See `post`."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Airflow's answer.

        Raises:
            CallFailed: MWAA or Airflow refused, or did not answer.
        """
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        if self._web is not None:
            return self._web.ask(method, path, body)
        try:
            return self._invoke(method, path, body)
        except CallFailed as exc:
            if not _calls_for_login(exc):
                raise _rest_failure(exc) from exc
            self._web = self._logged_in(exc)
        return self._web.ask(method, path, body)

    def _invoke(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        arguments = {"Name": self._environment, "Path": path, "Method": method}
        if body is not None:
            arguments["Body"] = body  # type: ignore[assignment]
        answer = self._calls("invoke_rest_api", expects="RestApiStatusCode", **arguments)
        return _object(answer.get("RestApiResponse"))

    def _logged_in(self, why: CallFailed) -> _WebSession:
        try:
            answer = self._calls("create_web_login_token", expects="WebToken", Name=self._environment)
        except CallFailed as exc:
            reason = f"{why.reason} A web login fails too: {exc.reason}"
            raise CallFailed(reason, f"{why.cure} Or {exc.cure}", why.code) from exc
        return _WebSession(str(answer["WebServerHostname"]), str(answer["WebToken"]), self._calls.deadline)


def _calls_for_login(failed: CallFailed) -> bool:
    """boto3 is too old for InvokeRestApi, or the environment is, or only a web login is allowed."""
    text = f"{failed.reason}".lower()
    return failed.code in (NO_INVOKE, "AccessDeniedException") or "update your environment" in text


def _rest_failure(failed: CallFailed) -> CallFailed:
    """Airflow's own status instead of MWAA's wrapping."""
    response = getattr(failed.__cause__, "response", {})
    if failed.code == "ResourceNotFoundException":
        return CallFailed("there is no such MWAA environment in this region.", "correct [de_agent] mwaa_environment.")
    if failed.code not in ("RestApiClientException", "RestApiServerException"):
        return failed
    return _status_failure(int(response.get("RestApiStatusCode") or 0), response.get("RestApiResponse"))


def _status_failure(status: int, answer: Any) -> CallFailed:
    default = ("Airflow's web server failed", "look at the log group airflow-ENVIRONMENT-WebServer")
    said, cure = REST_REMEDIES.get(status, default)
    detail = answer.get("detail") if isinstance(answer, dict) else answer
    text = f": {detail}" if detail else ""
    return CallFailed(f"{said} (HTTP {status}){text}.", f"{cure}.", f"HTTP{status}")


def _object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise CallFailed("the answer of Airflow's REST API is not a JSON object.", "ask again.", "HalfAnswer")
    return answer


class _WebSession:
    """A session of the web server, by the token that MWAA hands out (good for 60 s; the session for 12 h)."""

    def __init__(self, host: str, token: str, deadline: float) -> None:
        self._base, self._deadline = f"https://{host}", deadline
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self._version = self._login(token)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        bearer = next((cookie.value for cookie in self._cookies if cookie.name == "_token"), None)
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        url = f"{self._base}/api/{self._version}{path}"
        status, text = self._open(urllib.request.Request(url, data, headers, method=method))
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None if status == 200 else text[:200]
        if status != 200:
            raise _status_failure(status, answer)
        return _object(answer)

    def _login(self, token: str) -> str:
        data = urllib.parse.urlencode({"token": token}).encode()
        for path, version in LOGINS:
            status, _ = self._open(urllib.request.Request(f"{self._base}{path}", data))
            if status < 400:
                return version
        raise CallFailed(
            f"the login of MWAA's web server answered HTTP {status}.", "allow airflow:CreateWebLoginToken."
        )

    def _open(self, request: urllib.request.Request) -> tuple[int, str]:
        left = self._deadline - time.monotonic()

        def ask() -> tuple[int, str]:
            with self._opener.open(request, timeout=max(min(left, 10.0), 0.1)) as response:
                return response.status, response.read().decode("utf-8", "replace")

        try:
            return within(left, ask)
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read(2000).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as exc:
            cure = "a private web server answers only inside its VPC: run there, or allow airflow:InvokeRestApi."
            raise CallFailed(f"MWAA's web server cannot be reached ({type(exc).__name__}).", cure) from exc
