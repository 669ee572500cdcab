"""A tracking server that goes away for a while: when to try again, and what the user reads meanwhile."""

import sys
import time
from collections.abc import Callable
from typing import Any

from pipelines.text import redacted

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 60.0


class TrackingError(ValueError):
    """The tracking store cannot be used as asked; the message says what to change."""


def say_on_stderr(message: str) -> None:
    """Where messages go as long as no progress display takes them."""
    print(redacted(message), file=sys.stderr, flush=True)


class TrackingConnection:
    """The connection to one tracking store. Through an outage, attempts are few and cost nothing in between."""

    def __init__(self, tracking_uri: str) -> None:
        self.name = redacted(tracking_uri)
        self.say: Callable[[str], None] = say_on_stderr
        self.down = False
        self._next_attempt, self._wait_seconds = 0.0, FIRST_WAIT_SECONDS

    def open(self, action: Callable[[], None]) -> None:
        """The first attempt, when the user still looks: what waiting does not fix is raised.

        Raises: TrackingError: no such host, no MLflow server there, or it refuses the login.
        """
        try:
            action()
        except Exception as error:
            if not _comes_back(error):
                # Without its cause, whose text holds the URI as it was given.
                why = reason(error)
                raise TrackingError(f"{self.name} cannot be used for tracking ({why}): check the URI") from None
            self._broken(error)

    def attempt(self, action: Callable[[], None], now: bool = False) -> bool:
        """Do what talks to the store, if it is time to; whether it was done.

        Once the work goes on nothing that the store answers stops it, apart from a request that it calls malformed.

        Args: now: do not wait for the time of the next attempt.
        """
        if self.down and not now and time.monotonic() < self._next_attempt:
            return False
        try:
            action()
        except Exception as error:
            if not _is_of_the_store(error):
                raise
            self._broken(error)
            return False
        self.down, self._wait_seconds = False, FIRST_WAIT_SECONDS
        return True

    def _broken(self, error: Exception) -> None:
        if not self.down:
            self.down = True
            self.say(
                f"tracking in {self.name} does not work now ({reason(error)}): "
                "the work goes on, its log is kept in the run folders and sent later"
            )
        self._next_attempt = time.monotonic() + self._wait_seconds
        self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)


def may_pass(error: Exception) -> bool:
    """Whether a store that gave this error may do the same request later: not if it has no such thing."""
    from mlflow.exceptions import MlflowException

    unknown = isinstance(error, MlflowException) and _status(error) in (404, 405, 501)
    return _is_of_the_store(error) and not unknown


def _is_of_the_store(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    if isinstance(error, MlflowException):
        return _status(error) != 400
    return isinstance(error, RequestException)


def _comes_back(error: Exception) -> bool:
    """Whether waiting may help: nobody listens, an answer that does not come, a server or a database that is busy."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import ConnectionError, InvalidURL, RequestException, SSLError, Timeout

    cause = error.__context__ if isinstance(error, MlflowException) else error
    if isinstance(cause, RequestException):
        lasting = isinstance(cause, InvalidURL | SSLError) or "Failed to resolve" in str(cause)
        return not lasting and (isinstance(cause, ConnectionError | Timeout) or "too many" in str(cause))
    return isinstance(error, MlflowException) and _status(error) in (429, 502, 503, 504)


def _status(error: Any) -> int:
    return int(error.get_http_status_code())


def reason(error: Exception) -> str:
    """An error in few words: of one refused connection, requests and urllib3 make a long chain."""
    text = redacted(" ".join(str(error).split()))
    for sign, meaning in (
        ("Connection refused", "connection refused"),
        ("Failed to resolve", "no such host"),
        ("timed out", "no answer in time"),
        ("Connection aborted", "connection broken off"),
    ):
        if sign in text:
            return meaning
    return text[:200]
