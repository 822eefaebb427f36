"""The view on Airflow 3.1 and later: a FastAPI app beside Airflow's own, shown as tabs in its pages.

Reading asks for what reading the task's log asks for. Diagnosing asks for what clearing the task instance asks for,
as it is done by the same people at the same moment, and may cost a model's tokens.
"""

from __future__ import annotations

from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Body, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from airflow_de_agent import ui
from airflow_de_agent.airflow.ui import api
from airflow_de_agent.core.errors import DeAgentError

PREFIX = "/de-agent"
_READ = Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS))
_ACT = Depends(requires_access_dag("PUT", DagAccessEntity.TASK_INSTANCE))
_PLACES = {
    "task_instance": "run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}",
    "dag_run": "run_id={RUN_ID}",
    "dag": "",
}


def external_views() -> list[dict[str, str]]:
    """The tabs; Airflow fills the names in braces. The address is relative, as Airflow may live under a path."""
    return [
        {
            "name": "Diagnose",
            "href": f"{PREFIX[1:]}/dags/{{DAG_ID}}/page?{query}",
            "destination": destination,
            "url_route": f"de-agent-{destination.replace('_', '-')}",
        }
        for destination, query in _PLACES.items()
    ]


def fastapi_apps() -> list[dict[str, Any]]:
    """The app with the page and its API."""
    app = FastAPI(title="DE Agent", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/dags/{dag_id}/page", dependencies=[_READ])(page)
    app.get("/dags/{dag_id}/diagnoses", dependencies=[_READ])(diagnoses)
    app.get("/dags/{dag_id}/diagnoses/{diagnosis_id}", dependencies=[_READ])(diagnosis)
    app.post("/dags/{dag_id}/diagnose", dependencies=[_READ, _ACT])(diagnose)
    app.add_exception_handler(DeAgentError, _refused)
    app.add_exception_handler(OSError, _refused)
    app.add_exception_handler(HTTPException, _not_allowed)
    app.add_exception_handler(RequestValidationError, _malformed)
    return [{"app": app, "url_prefix": PREFIX, "name": "DE Agent"}]


def page(dag_id: str) -> Response:
    """The page; which run and task it is about, its script reads from the address."""
    headers = api.HEADERS | {"Content-Security-Policy": ui.content_security_policy()}
    return HTMLResponse(ui.page(), headers=headers)


def diagnoses(dag_id: str, request: Request, user: GetUserDep) -> Response:
    """What is known of a DAG, a run or a task instance."""
    return _json(api.view(api.place(dag_id, request.query_params), _access(user), api.store()))


def diagnosis(dag_id: str, diagnosis_id: str, user: GetUserDep) -> Response:
    """One diagnosis."""
    return _json(api.diagnosis(dag_id, diagnosis_id, _access(user), api.store()))


def diagnose(dag_id: str, request: Request, values: Annotated[dict[str, Any], Body()]) -> Response:
    """Have a failed try diagnosed."""
    if not api.same_origin(request.headers):
        raise api.Refused(403, "This request did not come from the page of this server.")
    return _json(api.diagnose(api.place(dag_id, values), api.store()), status=202)


def _access(user: Any) -> api.Access:
    def may(method: str, entity: DagAccessEntity, dag_id: str) -> bool:
        return bool(
            get_auth_manager().is_authorized_dag(
                method=method, access_entity=entity, details=_details(dag_id), user=user
            )
        )

    return api.Access(
        may_read=lambda dag_id: may("GET", DagAccessEntity.TASK_LOGS, dag_id),
        may_diagnose=lambda dag_id: may("PUT", DagAccessEntity.TASK_INSTANCE, dag_id),
    )


def _details(dag_id: str) -> DagDetails:
    """As `requires_access_dag` builds them: with the DAG's team where this Airflow has teams."""
    from airflow.models.dag import DagModel

    if not hasattr(DagModel, "get_team_name"):
        return DagDetails(id=dag_id)
    return DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))


def _json(values: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(values, status_code=status, headers=api.HEADERS)


def _refused(_request: Request, exc: Exception) -> Response:
    status, text = api.refusal(exc)
    return _json({"error": text}, status)


def _not_allowed(request: Request, exc: HTTPException) -> Response:
    """A refusal of Airflow's own, in words inside a tab and as JSON for the script."""
    if not request.url.path.endswith("/page"):
        return JSONResponse({"error": str(exc.detail)}, exc.status_code, {**api.HEADERS, **(exc.headers or {})})
    text = "Your session has ended. Sign in to Airflow again." if exc.status_code == 401 else str(exc.detail)
    return HTMLResponse(ui.message(text), exc.status_code, api.HEADERS)


def _malformed(_request: Request, _exc: RequestValidationError) -> Response:
    return _json({"error": "The body must be a JSON object."}, 400)
