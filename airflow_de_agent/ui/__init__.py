"""The page of the view: one HTML document with its script and style inside, and the policy that allows only these.

Rules kept here: nothing is fetched but our own JSON, nothing else runs, nobody else may frame it; no data is in it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
from pathlib import Path

_HERE = Path(__file__).parent


def page(csrf_token: str = "") -> str:
    """The document; `csrf_token` is the host's, sent back with every change (empty where the host has none)."""
    text = _part("page.html").replace("{{ csrf_token }}", html.escape(csrf_token, quote=True))
    return text.replace("{{ style }}", _part("page.css")).replace("{{ script }}", _part("page.js"))


@functools.cache
def content_security_policy() -> str:
    """The Content-Security-Policy header of the document."""
    return (
        f"default-src 'none'; script-src '{_digest('page.js')}'; style-src '{_digest('page.css')}'; "
        "connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    )


def message(text: str) -> str:
    """A document that only says something, for when the page itself may not be given."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>DE Agent</title><p>{html.escape(text)}</p></html>'
    )


@functools.cache
def _part(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _digest(name: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(_part(name).encode()).digest()).decode()
