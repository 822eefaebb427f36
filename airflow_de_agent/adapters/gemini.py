"""Gemini through whichever SDK is installed: `google-genai` (1.2 to 3.x), else `google-generativeai`.

MWAA pins another SDK version for every Airflow, so only what all of them share is used: a dict configuration, an
explicit API version (3.x changed the default), a timeout in milliseconds. Their retries stay off, ours stand in
`gemini_retry`. Function calling is not used: a look further is a field of the answer, so no call depends on echoed
thought signatures, which the older SDKs drop.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import random as _random
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from airflow_de_agent.adapters.gemini_failure import reply_to
from airflow_de_agent.adapters.gemini_retry import with_retries
from airflow_de_agent.core.prompt import Prompt
from airflow_de_agent.core.reply import Reply

DEFAULT_MODEL = "gemini-3.8-flash"


@dataclasses.dataclass(frozen=True)
class Target:
    """Which model is asked, where, and as whom.

    `base_url` is empty for Google's own endpoint. `thinking_level` (low | medium | high, empty for the model's default)
    is sent where the SDK and the model know it. With `vertex_project` the call goes to Vertex AI in `vertex_location`,
    with the key where there is one, else with the application default credentials.
    """

    api_key: str = dataclasses.field(default="", repr=False)
    model: str = DEFAULT_MODEL
    base_url: str = ""
    api_version: str = ""
    thinking_level: str = "low"
    vertex_project: str = ""
    vertex_location: str = "global"

    @property
    def version(self) -> str:
        """The API version in the path."""
        return self.api_version or ("v1" if self.vertex_project else "v1beta")


def complete(
    prompt: Prompt,
    schema: Mapping[str, Any],
    *,
    target: Target,
    deadline: float,
    max_output_tokens: int = 8192,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    random: Callable[[], float] = _random.random,
) -> Reply:
    """Ask the model for JSON of `schema` (Gemini's OpenAPI subset) before `deadline` (on `clock`); never raises."""
    started = clock()
    ask = _sdk()
    if not target.api_key and not target.vertex_project:
        reply = Reply(problem="there is no API key.", cure="set GEMINI_API_KEY or [de_agent] gemini_conn_id")
    elif ask is None or (ask is _with_generativeai and target.vertex_project):
        reply = Reply(problem="no SDK for it is installed.", cure="pip install google-genai")
    else:
        reply = with_retries(
            lambda seconds: _attempt(ask, prompt, dict(schema), target, seconds, max_output_tokens),
            deadline=deadline,
            clock=clock,
            sleep=sleep,
            random=random,
        )
    return dataclasses.replace(reply, model=reply.model or target.model, seconds=round(clock() - started, 3))


def preload(target: Target) -> None:
    """Import the SDK and make its client, which takes 1 to 2 s, ahead of the first call.

    To be run in a thread while evidence is read. Never raises: what is wrong shows in the first call's Reply.
    """
    try:
        if _sdk() is _with_genai:
            _genai_client(target)
        elif _sdk() is _with_generativeai:
            _generativeai()
    except Exception:  # noqa: BLE001 -- the SDKs' errors share no class
        return


def look_up(target: Target, seconds: float) -> Reply:
    """Ask for the model's description, which costs nothing; `problem` says why it cannot be used. Never raises."""
    ask = _sdk()
    if ask is None:
        return Reply(problem="no SDK for it is installed.", cure="pip install google-genai")
    try:
        if ask is _with_genai:
            options: Any = {"http_options": {"timeout": int(seconds * 1000)}}
            _genai_client(target).models.get(model=target.model, config=options)
        else:
            genai = _generativeai()
            endpoint = {"api_endpoint": target.base_url} if target.base_url else None
            genai.configure(api_key=target.api_key, transport="rest", client_options=endpoint)
            genai.get_model(f"models/{target.model}", request_options={"timeout": seconds, "retry": None})
    except Exception as exc:  # noqa: BLE001 -- as in `_attempt`
        return reply_to(exc, target.model)
    return Reply(model=target.model)


_NOTHING = "the model answered nothing ({})."
Ask = Callable[[Prompt, dict[str, Any], Target, float, int], Reply]


def _sdk() -> Ask | None:
    if _importable("google.genai"):
        return _with_genai
    return _with_generativeai if _importable("google.generativeai") else None


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent, the namespace `google`, is absent
        return False


def _attempt(ask: Ask, prompt: Prompt, schema: dict[str, Any], target: Target, seconds: float, room: int) -> Reply:
    try:
        return ask(prompt, schema, target, seconds, room)
    except Exception as exc:  # noqa: BLE001 -- the SDKs' errors share no class, and a reply is a value
        return reply_to(exc, target.model)


def _with_genai(prompt: Prompt, schema: dict[str, Any], target: Target, seconds: float, room: int) -> Reply:
    from google import genai
    from google.genai import types

    config: dict[str, Any] = {
        "system_instruction": prompt.system,
        "response_mime_type": "application/json",
        "response_schema": schema,
        "max_output_tokens": room,
        "http_options": {"timeout": max(1, int(seconds * 1000))},
        "automatic_function_calling": {"disable": True},
    }
    knows_level = "thinking_level" in types.ThinkingConfig.model_fields and not target.model.startswith("gemini-2")
    if target.thinking_level and knows_level:
        config["thinking_config"] = {"thinking_level": target.thinking_level.upper()}
    sdk = f"google-genai {genai.__version__}"
    try:
        response = _genai_client(target).models.generate_content(
            model=target.model, contents=prompt.text, config=config
        )
    except TypeError as exc:
        if "JSON object must be str" not in str(exc):
            raise
        # 1.2 parses the text for us, also where there is none; the reason is lost with it
        return Reply(finish="empty", problem=_NOTHING.format("EMPTY"), model=target.model, sdk=sdk)
    return _read(response, sdk, target.model)


def _genai_client(target: Target) -> Any:
    """The client of a target, kept: making one reads the CA bundle twice, which takes a third of a second.

    One at a time: of two made at once by `preload` and a call, one would be dropped, and a dropped client closes its
    connections under the call that uses it.
    """
    with _MAKING:
        return _kept_client(target)


_MAKING = threading.Lock()


@functools.lru_cache(maxsize=2)
def _kept_client(target: Target) -> Any:
    from google import genai

    return genai.Client(**_client_options(target))


def _client_options(target: Target) -> dict[str, Any]:
    http: dict[str, Any] = {"api_version": target.version}
    if target.base_url:
        http["base_url"] = target.base_url
    if not target.vertex_project:
        # said outright: GOOGLE_GENAI_USE_VERTEXAI in a worker's environment must not decide it
        return {"api_key": target.api_key, "vertexai": False, "http_options": http}
    where = {"project": target.vertex_project, "location": target.vertex_location}
    return {"vertexai": True, "http_options": http, **({"api_key": target.api_key} if target.api_key else where)}


def _with_generativeai(prompt: Prompt, schema: dict[str, Any], target: Target, seconds: float, room: int) -> Reply:
    genai = _generativeai()
    options = {"api_endpoint": target.base_url} if target.base_url else None
    genai.configure(api_key=target.api_key, transport="rest", client_options=options)
    model = genai.GenerativeModel(target.model, system_instruction=prompt.system)
    response = model.generate_content(
        prompt.text,
        generation_config={
            "response_mime_type": "application/json",
            "response_schema": _older_schema(schema),
            "max_output_tokens": room,
        },
        request_options={"timeout": seconds, "retry": None},  # without it: ten minutes of its own retries
    )
    return _read(response, f"google-generativeai {genai.__version__}", target.model)


_OLDER_FIELDS = {name: name for name in ("type", "description", "enum", "required")} | {"maxItems": "max_items"}


def _older_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in the words that google-generativeai knows; it refuses the others, which only refine."""
    known = {_OLDER_FIELDS[name]: value for name, value in schema.items() if name in _OLDER_FIELDS}
    if "items" in schema:
        known["items"] = _older_schema(schema["items"])
    if "properties" in schema:
        known["properties"] = {name: _older_schema(item) for name, item in schema["properties"].items()}
    return known


def _generativeai() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "All support has ended": known, and said in the documentation
        import google.generativeai as genai
    return genai


def _read(response: Any, sdk: str, model: str) -> Reply:
    """Read a response by attributes that the types of both SDKs share; thoughts are left out of the text."""
    candidate = next(iter(response.candidates or ()), None)
    parts = getattr(getattr(candidate, "content", None), "parts", None) or ()
    text = "".join(part.text or "" for part in parts if not getattr(part, "thought", None))
    block = getattr(getattr(response, "prompt_feedback", None), "block_reason", None)
    finish = _word(getattr(candidate, "finish_reason", None)) or _word(block) or "empty"
    prompt_tokens, output_tokens, thinking_tokens = _usage(getattr(response, "usage_metadata", None))
    return Reply(
        text=text,
        finish=finish,
        problem="" if text else _NOTHING.format(finish.upper()),
        model=str(getattr(response, "model_version", None) or model),
        sdk=sdk,
        input_tokens=prompt_tokens,
        output_tokens=output_tokens,
        thinking_tokens=thinking_tokens,
    )


def _word(reason: Any) -> str:
    """An enum of either SDK as a word: ``max_tokens``; empty for absent and unspecified ones."""
    name = str(getattr(reason, "name", None) or getattr(reason, "value", None) or reason or "").lower()
    return "" if name in ("0", "none") or name.endswith("unspecified") else name


def _usage(usage: Any) -> tuple[int, int, int]:
    """Tokens of prompt, answer and thinking."""

    def count(name: str) -> int:
        return int(getattr(usage, name, None) or 0)

    prompt, output, total = count("prompt_token_count"), count("candidates_token_count"), count("total_token_count")
    # older SDKs do not know of thoughts, but the total holds them
    thinking = count("thoughts_token_count") or max(0, total - prompt - output)
    return prompt, output, thinking
