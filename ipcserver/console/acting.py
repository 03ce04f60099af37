"""The page's actions carried out: who may, on whose behalf, and one line of the log for each.

The token is what keeps everybody else out: it travels in a header that no foreign page can make a browser send, and is
compared in constant time.
"""

from __future__ import annotations

import hmac
import os
import secrets
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipcserver._gen.machine import machine_caller
from ipcserver.console.actions import told

if TYPE_CHECKING:
    from ipcserver.config import Config
    from ipcserver.console.actions import Action
    from ipcserver.replica import Replica

__all__ = ["AT_ONCE", "Actor", "TooMany"]

AT_ONCE: Final = 64
"""Actions that may wait at a time."""

_FIRST_CONNECTION: Final = 1 << 62
"""Numbers of the actions' connections: each has one of its own, out of reach of those that clients have."""

_GROUPS: Final = 16


class TooMany(Exception):
    """So many actions wait that another one is not taken."""


class Actor:
    """Does what the page asks for, if the token is right.

    Args:
        config: Its token and identity; a token is made up if there is none.
        replica: Orders, keeps and applies the commands, as it does with every client's.
    """

    _log = Logger(namespace="ipcserver")

    def __init__(self, config: Config, replica: Replica) -> None:
        self._replica = replica
        self._given = config.console_token is not None
        self._token = (config.console_token or secrets.token_urlsafe(24)).encode()
        self._identity = config.console_identity
        self._connections = count(_FIRST_CONNECTION)
        self._under_way: set[int] = set()
        self._wrong = 0

    def announce(self) -> None:
        """Tell the operator that actions are allowed, as whom, and the token unless it was given."""
        caller = self._caller()
        self._log.warn(
            "the console may change things, as uid {uid} gid {gid}; the token is {token}",
            uid=caller.uid,
            gid=caller.gid,
            token="the one that was configured" if self._given else self._token.decode(),
        )

    def allows(self, authorization: str | None, who: str) -> bool:
        """Return whether an Authorization header has the token.

        Args:
            authorization: ``Bearer TOKEN``; None if there was none.
            who: Where it came from, for the log: powers of two of wrong ones are told, so that it stays legible.
        """
        scheme, _, given = (authorization or "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        if right and scheme.lower() == "bearer":
            return True
        if given:
            self._wrong += 1
            if self._wrong & (self._wrong - 1) == 0:
                self._log.warn("console: a wrong token from {who} ({count} so far)", who=who, count=self._wrong)
        return False

    def perform(self, action: Action, who: str, gone: Deferred[Any]) -> Deferred[dict[str, Any]]:
        """Have an action journalled, applied and logged.

        Args:
            action: What to do.
            who: The browser's address, for the log.
            gone: Fires or fails when nobody waits for the answer any more: a wait is given up then.

        Returns:
            The outcome, as told() has it.

        Raises:
            TooMany: At once, if AT_ONCE actions wait.
        """
        if len(self._under_way) >= AT_ONCE:
            raise TooMany
        number = next(self._connections)
        self._under_way.add(number)
        answered: Deferred[dict[str, Any]] = Deferred()
        caller = self._caller()

        def done(outcome: Any) -> None:
            self._under_way.discard(number)
            answer = told(outcome, action.line)
            self._log.info(
                "console: {action} as {uid}:{gid} from {who}: {status}",
                action=action.line,
                uid=caller.uid,
                gid=caller.gid,
                who=who,
                status=answer["status"],
            )
            answered.callback(answer)

        def left(_result: object) -> None:
            if number in self._under_way:
                self._replica.connection_closed(number)

        gone.addBoth(left)
        outcome = self._replica.submit(action.operation, action.argument, caller=caller, connection=number, done=done)
        if outcome is not None:
            done(outcome)
        return answered

    def _caller(self) -> machine_caller:
        """Return on whose behalf: the configured one, or who the server's process has become."""
        if self._identity is not None:
            return machine_caller(*self._identity, [])
        return machine_caller(os.geteuid(), os.getegid(), os.getgroups()[:_GROUPS])
