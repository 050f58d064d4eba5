"""Errors: every way in which a request can be refused, and what each surface renders.

::

    WaypostError
    ├─ InvalidInput            what was sent is wrong; says where
    │  ├─ InvalidSetting       a setting is well-formed, and can't be obeyed
    │  └─ Unverified           what came in at a source is not from who it should be
    ├─ NotAuthenticated        no key, or not a good one
    ├─ NotPermitted            a good key without the scope
    ├─ NotFound                no such thing in the caller's project
    ├─ Conflict                the thing's state forbids it
    │  ├─ IdempotencyMismatch  the idempotency key was used for another request
    │  ├─ LimitReached         no more of these may exist
    │  ├─ AlreadyClaimed       somebody has the event, or had it, for this transaction key
    │  └─ NotHeld              the claim has ended, or is another's by now
    ├─ PayloadTooLarge         over a size limit
    ├─ TooManyRequests         the caller's rate limit; retry later
    ├─ Unavailable             overload or the database is away; retry later
    ├─ StorageFull             intake is stopped until there is disk again
    └─ ConfigInvalid           a setting is wrong
"""

from collections.abc import Sequence


class WaypostError(Exception):
    """Something went wrong."""

    code = "error"

    def __init__(self, message: str | None = None) -> None:
        """Keep the message; the class's own sentence is the default."""
        super().__init__(message or (type(self).__doc__ or "").strip().split("\n")[0])

    @property
    def message(self) -> str:
        """The sentence for the caller."""
        return str(self.args[0])


class InvalidInput(WaypostError):
    """The request is not valid."""

    code = "invalid_input"

    def __init__(
        self, message: str | None = None, *, details: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Keep `details`: pairs of (path of the field, what is wrong with it)."""
        if message is None and details:
            message = "; ".join(f"{path}: {reason}" if path else reason for path, reason in details)
        super().__init__(message)
        self.details = tuple(details)


class InvalidSetting(InvalidInput):
    """A setting can't be obeyed."""

    code = "invalid_setting"


class Unverified(InvalidInput):
    """Request verification failed"""  # noqa: D415 - the vendor's sentence

    code = "unverified"


class NotAuthenticated(WaypostError):
    """User has not been authenticated"""  # noqa: D415 - the vendor's exact sentence

    code = "not_authenticated"


class NotPermitted(WaypostError):
    """The API key lacks a scope that this operation needs."""

    code = "not_permitted"


class NotFound(WaypostError):
    """Not found."""

    code = "not_found"

    def __init__(self, kind: str) -> None:
        """Name the kind of thing that was not found, such as "event"."""
        super().__init__(f"{kind} not found")
        self.kind = kind


class Conflict(WaypostError):
    """The state of the thing does not allow this."""

    code = "conflict"


class IdempotencyMismatch(Conflict):
    """The idempotency key was already used for a different request."""

    code = "idempotency_mismatch"
    at_index = 0
    """Which event of a batch it was."""


class LimitReached(Conflict):
    """No more of these may exist."""

    code = "limit_reached"


class AlreadyClaimed(Conflict):
    """The event has a transaction with this key already."""

    code = "transaction_exists"


class NotHeld(Conflict):
    """The claim has ended, or is another's by now."""

    code = "transaction_not_held"


class PayloadTooLarge(WaypostError):
    """The request is too large."""

    code = "payload_too_large"


class TooManyRequests(WaypostError):
    """Rate limited, too many requests per second"""  # noqa: D415 - the vendor's sentence

    code = "too_many_requests"

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1.0) -> None:
        """Keep how long the caller should wait, in seconds."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(WaypostError):
    """The server is overloaded; try again."""

    code = "unavailable"

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1.0) -> None:
        """Keep how long the caller should wait, in seconds."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageFull(WaypostError):
    """The disk is nearly full: no new events are accepted until there is room again."""

    code = "storage_full"
    retry_after_s = 5.0
    """How long the caller should wait, in seconds."""


class ConfigInvalid(WaypostError):
    """A setting is wrong."""

    code = "config_invalid"
