"""Errors that we raise ourselves.

DeAgentError
├── SettingsError   a setting is wrong; the text lists all of them at once
├── StoreError      the store cannot be reached or refused
├── HostError       Airflow cannot be asked for its task instances
└── SlackError      Slack refused or cannot be reached; says whether waiting helps
"""

from __future__ import annotations


class DeAgentError(Exception):
    """Root of all errors raised by this package."""


class SettingsError(DeAgentError):
    """One or more settings are wrong."""


class StoreError(DeAgentError):
    """The store cannot be reached, or refused."""


class HostError(DeAgentError):
    """Airflow's database or REST API cannot be reached, or refused.

    `by_design`: this process of Airflow never has it, so nothing is broken.
    """

    def __init__(self, reason: str, *, by_design: bool = False) -> None:
        super().__init__(reason)
        self.by_design = by_design


class SlackError(DeAgentError):
    """Slack refused a call or cannot be reached.

    `retry_after` is in seconds when waiting helps, None when it does not; `unauthorised` when the token is to blame;
    `uneditable` when a message was to be edited that is gone, or that the workspace lets nobody edit any more.
    """

    def __init__(
        self, reason: str, retry_after: float | None = None, *, unauthorised: bool = False, uneditable: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.unauthorised = unauthorised
        self.uneditable = uneditable
