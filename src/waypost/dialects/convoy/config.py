"""A project's configuration as Convoy has it: read, shown, and what of it our settings say.

Durations are in seconds, but for the breaker's window, which is in minutes.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from waypost.model.errors import InvalidInput
from waypost.model.failure import OnGivingUp, Otherwise, Strategy
from waypost.model.flow import Breaker, RateLimit
from waypost.policy.failure import CONNECTION, TIMEOUT, TLS
from waypost.policy.failure_settings import FailureHandlingIn, RetryIn
from waypost.policy.headers import is_reserved
from waypost.web.openapi import whole

SIGNATURE_HEADER: Final = "X-Convoy-Signature"
REQUEST_ID_HEADER: Final = "X-Convoy-Idempotency-Key"
PAYLOAD_MAX: Final = 51_200
RETRY_MAX_S: Final = 7_200.0
"""No gap of the exponential strategy is longer."""
VERSIONS_MAX: Final = 5
MASKED: Final = "***"
SAMPLE_RATE_S: Final = 30

_DAY_S: Final = 86_400
_HEADER: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"

Text = Annotated[str, Meta(max_length=1_024)]
HeaderName = Annotated[str, Meta(pattern=_HEADER)]
Seconds = Annotated[int, Meta(ge=1, le=_DAY_S)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may hold nothing unknown."""


class StrategyConfig(_Strict, frozen=True, kw_only=True):
    """When what has failed is tried again: `retry_count` is of all attempts."""

    type: Literal["linear", "exponential"] = "linear"
    duration: Annotated[int, Meta(ge=0, le=_DAY_S)] = 100
    retry_count: Annotated[int, Meta(ge=1, le=1_000)] = 10


class VersionConfig(_Strict, frozen=True, kw_only=True):
    """One way to sign."""

    uid: str = ""
    hash: Literal["SHA256", "SHA512"] = "SHA256"
    encoding: Literal["hex", "base64"] = "hex"
    created_at: str | None = None


class SignatureConfig(_Strict, frozen=True, kw_only=True):
    """How deliveries are signed."""

    header: HeaderName = SIGNATURE_HEADER
    versions: Annotated[tuple[VersionConfig, ...], Meta(min_length=1, max_length=VERSIONS_MAX)] = (
        VersionConfig(),
    )


class RateConfig(_Strict, frozen=True, kw_only=True):
    """How many attempts may start in how many seconds; 0: no limit."""

    count: Annotated[int, Meta(ge=0, le=100_000)] = 0
    duration: Annotated[int, Meta(ge=0, le=_DAY_S)] = 0


class SslConfig(_Strict, frozen=True, kw_only=True):
    """Whether URLs must be https."""

    enforce_secure_endpoints: bool = False


class MetaKind(StrEnum):
    """What meta events tell of."""

    ENDPOINT_CREATED = "endpoint.created"
    ENDPOINT_UPDATED = "endpoint.updated"
    ENDPOINT_DELETED = "endpoint.deleted"
    DELIVERY_UPDATED = "eventdelivery.updated"
    """A try failed, and is followed by another."""
    DELIVERY_SUCCESS = "eventdelivery.success"
    DELIVERY_FAILED = "eventdelivery.failed"
    PROJECT_UPDATED = "project.updated"


class MetaEventConfig(_Strict, frozen=True, kw_only=True):
    """Where what happens in the project is told."""

    is_enabled: bool = False
    type: Annotated[str, Meta(extra_json_schema={"enum": ["http", ""]})] = "http"
    event_type: (
        Annotated[
            tuple[Annotated[str, Meta(extra_json_schema={"enum": list(MetaKind)})], ...],
            Meta(max_length=50),
        ]
        | None
    ) = None
    url: Text = ""
    secret: Text = ""
    pub_sub: Annotated[Any, Meta(extra_json_schema={"type": "null"})] = None


class BreakerConfig(_Strict, frozen=True, kw_only=True):
    """When an endpoint that fails is left alone; thresholds in percent."""

    sample_rate: Annotated[int, Meta(extra_json_schema={"const": SAMPLE_RATE_S})] = SAMPLE_RATE_S
    error_timeout: Seconds = 30
    failure_threshold: Annotated[int, Meta(ge=1, le=100)] = 70
    success_threshold: Annotated[int, Meta(ge=1, le=100)] = 5
    minimum_request_count: Annotated[int, Meta(ge=1, le=10_000)] = 10
    observability_window: Annotated[int, Meta(ge=1, le=60)] = 5
    consecutive_failure_threshold: Annotated[int, Meta(ge=1, le=1_000)] = 10


class ProjectConfig(_Strict, frozen=True, kw_only=True, rename={"ssl": "SSL"}):
    """The whole of it."""

    max_payload_read_size: Annotated[int, Meta(ge=1)] = PAYLOAD_MAX
    replay_attacks_prevention_enabled: bool = False
    add_event_id_trace_headers: bool = False
    disable_endpoint: bool = False
    search_policy: Annotated[str, Meta(extra_json_schema={"maxLength": 0})] | None = None
    ratelimit: RateConfig = RateConfig()
    strategy: StrategyConfig = StrategyConfig()
    ssl: SslConfig = SslConfig()
    signature: SignatureConfig = SignatureConfig()
    request_id_header: HeaderName = REQUEST_ID_HEADER
    meta_event: MetaEventConfig = MetaEventConfig()
    multiple_endpoint_subscriptions: bool = False
    verify_dynamic_events: bool = True
    allow_unmatched_dynamic_urls: bool = True
    circuit_breaker: BreakerConfig = BreakerConfig()

    @property
    def needs_keys(self) -> bool:
        """Whether events must have an idempotency key: with a header of one's own for it."""
        return self.request_id_header != REQUEST_ID_HEADER


DEFAULT: Final = ProjectConfig()


def _given() -> dict[str, Any]:
    """Return the schema of what is to change of it: null leaves a setting as it is."""
    schema = whole(ProjectConfig)
    settings = schema["properties"]
    settings["ssl"] = settings["SSL"]
    for name, one in settings.items():
        bare = {key: value for key, value in one.items() if key != "default"}
        settings[name] = {"anyOf": [bare, {"type": "null"}]}
    return schema


GivenConfig = Annotated[dict[str, Any], Meta(extra_json_schema=_given())]


def read(body: bytes) -> ProjectConfig:
    """Read a configuration that was kept."""
    return msgspec.json.decode(body, type=ProjectConfig)


def kept(config: ProjectConfig) -> bytes:
    """Return a configuration as it is kept."""
    return msgspec.json.encode(config)


def merged(present: ProjectConfig, given: dict[str, Any] | None) -> ProjectConfig:
    """Return a configuration with what was given in place of what was there.

    Raises:
        InvalidInput: something can't be obeyed; says where.
    """
    fields = dict(given or {})
    if "ssl" in fields and "SSL" not in fields:
        fields["SSL"] = fields.pop("ssl")
    wanted = {name: value for name, value in fields.items() if value is not None}
    meta = wanted.get("meta_event")
    if isinstance(meta, dict) and meta.get("secret") in {None, MASKED}:
        wanted["meta_event"] = {**meta, "secret": present.meta_event.secret}
    try:
        config = msgspec.convert({**msgspec.to_builtins(present), **wanted}, ProjectConfig)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"config: {error}") from error
    details = _faults(config)
    if details:
        raise InvalidInput(details=[(f"config.{path}", reason) for path, reason in details])
    return config


def _faults(config: ProjectConfig) -> list[tuple[str, str]]:
    details = _meta_faults(config.meta_event)
    if config.search_policy:
        details.append(("search_policy", "is not supported: nothing is indexed for searching"))
    if config.circuit_breaker.sample_rate != SAMPLE_RATE_S:
        reason = f"must be {SAMPLE_RATE_S}, or left out: each attempt is looked at as it ends"
        details.append(("circuit_breaker.sample_rate", reason))
    for path, name in (
        ("signature.header", config.signature.header),
        ("request_id_header", config.request_id_header),
    ):
        if is_reserved(name):
            details.append((path, "is a reserved header"))
    if config.signature.header.lower() == config.request_id_header.lower():
        details.append(("request_id_header", "must differ from signature.header"))
    if bool(config.ratelimit.count) is not bool(config.ratelimit.duration):
        details.append(("ratelimit", "must have both count and duration, or neither"))
    return details


def _meta_faults(meta: MetaEventConfig) -> list[tuple[str, str]]:
    details = []
    if meta.type == "pub_sub" or meta.pub_sub is not None:
        details.append(("meta_event.type", "pub_sub is not supported yet: must be http"))
    elif meta.type not in {"http", ""}:
        details.append(("meta_event.type", "must be http"))
    known = ", ".join(MetaKind)
    wrong = [one for one in meta.event_type or () if one not in MetaKind.__members__.values()]
    details += [("meta_event.event_type", f"{one} is not among {known}") for one in wrong]
    if meta.is_enabled and not meta.url:
        details.append(("meta_event.url", "is required"))
    if meta.is_enabled and not meta.event_type:
        details.append(("meta_event.event_type", f"is required: some of {known}"))
    return details


def shown(config: ProjectConfig) -> dict[str, Any]:
    """Return a configuration as Convoy shows it; the secret of meta events is masked."""
    fields: dict[str, Any] = msgspec.to_builtins(config)
    fields["ssl"] = fields.pop("SSL")
    if config.meta_event.secret:
        fields["meta_event"]["secret"] = MASKED
    return fields


def failure_handling(
    strategy: StrategyConfig, *, disable: bool, at_most_once: bool
) -> FailureHandlingIn:
    """Return what is done about failures, in our words.

    Convoy's linear strategy is our constant one. Where a delivery is made at most once, only what
    got no answer is tried again.
    """
    linear = strategy.type == "linear"
    interval_s = float(strategy.duration)
    retry = RetryIn(
        strategy=Strategy.CONSTANT if linear else Strategy.EXPONENTIAL,
        interval_s=interval_s,
        max_interval_s=None if linear else max(RETRY_MAX_S, interval_s),
        retries=strategy.retry_count - 1,
        jitter=0.0 if linear else None,
    )
    done = (OnGivingUp.DIVERT, OnGivingUp.DISABLE) if disable else (OnGivingUp.DIVERT,)
    if at_most_once:
        return FailureHandlingIn(
            triggers=(TIMEOUT, CONNECTION, TLS),
            otherwise=Otherwise.DIVERT,
            retry=retry,
            on_giving_up=done,
        )
    return FailureHandlingIn(retry=retry, on_giving_up=done)


def breaker(config: BreakerConfig) -> Breaker:
    """Return when a receiver is left alone, in our words."""
    return Breaker(
        failure_ratio=config.failure_threshold / 100,
        min_requests=config.minimum_request_count,
        window_s=config.observability_window * 60,
        open_s=config.error_timeout,
        probes=config.success_threshold,
        disable_after=config.consecutive_failure_threshold,
    )


def rate_limit(count: int, duration_s: int) -> RateLimit | None:
    """Return how many attempts may start, in our words; None for no limit."""
    return RateLimit(count, duration_s, count) if count and duration_s else None
