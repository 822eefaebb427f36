"""The view on Airflow 2, and on 3.0 where the FAB provider is there: pages of the FAB web server.

Reading asks for what reading the task's log asks for. Diagnosing asks for what clearing the task instance asks for,
as it is done by the same people at the same moment, and may cost a model's tokens. The web server itself refuses
changes without its CSRF token.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flask import Response, jsonify, make_response, redirect, request
from flask_appbuilder import BaseView, expose
from flask_wtf.csrf import generate_csrf

try:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
except ImportError:
    from airflow.auth.managers.models.resource_details import DagAccessEntity, DagDetails
    from airflow.www.extensions.init_auth_manager import get_auth_manager

from airflow_de_agent import ui
from airflow_de_agent.airflow import compat
from airflow_de_agent.airflow.ui import api
from airflow_de_agent.airflow.ui.extra_link import ROUTE
from airflow_de_agent.core.errors import DeAgentError

_READ = ("GET", DagAccessEntity.TASK_LOGS)
_ACT = ("PUT", DagAccessEntity.TASK_INSTANCE)


def appbuilder_views() -> list[dict[str, Any]]:
    """The view with its entry in the menu, which a role sees that has "menu access" on it."""
    return [{"name": "Diagnoses", "category": "DE Agent", "view": DiagnosesView()}]


def _answered(*rights: tuple[str, Any]) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Checks the user's rights on the DAG of the path, and turns our errors into answers."""

    def decorator(route: Callable[..., Response]) -> Callable[..., Response]:
        @functools.wraps(route)
        def answer(view: Any, dag_id: str, **values: str) -> Response:
            if not all(_may(right, dag_id) for right in rights):
                return _not_allowed()
            return _caught(lambda: route(view, dag_id, **values))

        return answer

    return decorator


class DiagnosesView(BaseView):
    """The pages and their API."""

    route_base = ROUTE
    default_view = "index"

    @expose("/")
    def index(self) -> Response:
        """The page of all DAGs, whose list holds those that the user may read."""
        return _page() if _is_logged_in() else _not_allowed()

    @expose("/diagnoses")
    def recent(self) -> Response:
        """The latest diagnoses of the DAGs that the user may read."""
        return _caught(lambda: _json(api.overview(_access(), api.store()))) if _is_logged_in() else _not_allowed()

    @expose("/dags/<dag_id>/page")
    @_answered(_READ)
    def page(self, dag_id: str) -> Response:
        """The page; which run and task it is about, its script reads from the address."""
        return _page()

    @expose("/dags/<dag_id>/diagnoses")
    @_answered(_READ)
    def diagnoses(self, dag_id: str) -> Response:
        """What is known of a DAG, a run or a task instance."""
        return _json(api.view(api.place(dag_id, request.args), _access(), api.store()))

    @expose("/dags/<dag_id>/diagnoses/<diagnosis_id>")
    @_answered(_READ)
    def diagnosis(self, dag_id: str, diagnosis_id: str) -> Response:
        """One diagnosis."""
        return _json(api.diagnosis(dag_id, diagnosis_id, _access(), api.store()))

    @expose("/dags/<dag_id>/diagnose", methods=["POST"])
    @_answered(_READ, _ACT)
    def diagnose(self, dag_id: str) -> Response:
        """Have a failed try diagnosed."""
        values = request.get_json(silent=True)
        if not api.same_origin(request.headers) or not isinstance(values, dict):
            raise api.Refused(403, "This request did not come from the page of this server.")
        return _json(api.diagnose(api.place(dag_id, values), api.store()), 202)


def _may(right: tuple[str, Any], dag_id: str) -> bool:
    method, entity = right
    manager = get_auth_manager()
    user = {"user": manager.get_user()} if compat.has_task_sdk() else {}
    return bool(manager.is_authorized_dag(method=method, access_entity=entity, details=DagDetails(id=dag_id), **user))


def _access() -> api.Access:
    return api.Access(functools.partial(_may, _READ), functools.partial(_may, _ACT))


def _is_logged_in() -> bool:
    return bool(get_auth_manager().is_logged_in())


def _caught(answer: Callable[[], Response]) -> Response:
    try:
        return answer()
    except (DeAgentError, OSError) as exc:
        status, text = api.refusal(exc)
        return _json({"error": text}, status)


def _not_allowed() -> Response:
    """A page leads to the login; the script is told."""
    is_page = not request.path.rstrip("/").endswith(("/diagnoses", "/diagnose"))
    if _is_logged_in():
        return _json({"error": "You may not do this with this DAG."}, 403)
    if is_page:
        return make_response(redirect(get_auth_manager().get_url_login(next_url=request.url)))
    return _json({"error": "Not authenticated"}, 401)


def _page() -> Response:
    response = make_response(ui.page(generate_csrf()))
    response.headers.update(api.HEADERS | {"Content-Security-Policy": ui.content_security_policy()})
    return response


def _json(values: dict[str, Any], status: int = 200) -> Response:
    response = make_response(jsonify(values), status)
    response.headers.update(api.HEADERS)
    return response
