"""What Convoy's API answers with: fields alone."""

from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from waypost.dialects.convoy.authentication import FieldMappingIn
from waypost.dialects.convoy.config import ProjectConfig, SslConfig
from waypost.model.authentication import SigningKey

T = TypeVar("T")

Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Json = Annotated[Any, Meta(description="Any JSON.")]
ProjectType = Literal["incoming", "outgoing"]


class Said(msgspec.Struct, Generic[T], frozen=True):
    """The envelope of what went well."""

    status: Annotated[bool, Meta(extra_json_schema={"const": True})]
    message: str
    data: T


class Refused(msgspec.Struct, frozen=True):
    """The envelope of every refusal."""

    status: Annotated[bool, Meta(extra_json_schema={"const": False})]
    message: str


class Pagination(TypedDict):
    """Which page it is."""

    per_page: int
    has_next_page: bool
    has_prev_page: bool
    prev_page_cursor: str
    next_page_cursor: str


class PageOut(TypedDict, Generic[T]):
    """One page of a list."""

    content: list[T]
    pagination: Pagination


class Counted(TypedDict):
    """How many there are."""

    num: int


class Named(TypedDict):
    """Which thing it is."""

    uid: str


class Statistics(TypedDict):
    """What a project has."""

    events_exist: bool
    sources_exist: bool
    endpoints_exist: bool
    subscriptions_exist: bool


class ProjectOut(TypedDict):
    """A project."""

    uid: str
    name: str
    logo_url: str
    organisation_id: str
    type: ProjectType
    config: "ConfigOut"
    statistics: Statistics
    retained_events: int
    created_at: Moment
    updated_at: Moment | None
    deleted_at: None


class ConfigOut(ProjectConfig, frozen=True, kw_only=True, rename={"ssl": "ssl"}):
    """The whole of a project's configuration."""

    ssl: SslConfig = SslConfig()


class Role(TypedDict):
    """What a key is for."""

    type: str
    project: str


class KeyOut(TypedDict):
    """A new key, which is shown this once."""

    name: str
    role: Role
    key_type: Literal["project"]
    expires_at: Moment | None
    uid: str
    created_at: Moment
    key: str


class NewProjectOut(TypedDict):
    """A new project and its key."""

    api_key: KeyOut
    project: ProjectOut


class SecretOut(TypedDict):
    """A secret of an endpoint."""

    uid: str
    value: str
    expires_at: Moment | None
    created_at: Moment
    updated_at: Moment
    deleted_at: None


EndpointStatus = Literal["active", "inactive", "paused", "pending"]


class ApiKeyOut(TypedDict):
    """A key in a header."""

    header_name: str
    header_value: str


class BasicAuthOut(TypedDict):
    """Name and password."""

    username: str
    password: str


class OAuth2Out(TypedDict):
    """A token of the client's own."""

    url: str
    client_id: str
    grant_type: str
    scope: str
    audience: str
    authentication_type: Literal["shared_secret", "client_assertion"]
    client_secret: str
    signing_key: SigningKey | Literal["***"] | None
    signing_algorithm: str
    issuer: str
    subject: str
    field_mapping: FieldMappingIn | None
    expiry_time_unit: str


class AuthenticationOut(TypedDict):
    """How an endpoint wants to be called: the part that its type names."""

    type: Literal["api_key", "basic_auth", "oauth2"]
    api_key: NotRequired[ApiKeyOut]
    basic_auth: NotRequired[BasicAuthOut]
    oauth2: NotRequired[OAuth2Out]


class EndpointOut(TypedDict):
    """An endpoint."""

    uid: str
    project_id: str
    owner_id: str
    url: str
    name: str
    secrets: list[SecretOut]
    advanced_signatures: bool
    description: str
    slack_webhook_url: str
    teams_webhook_url: str
    support_email: str
    status: EndpointStatus
    http_timeout: int
    events: int
    authentication: AuthenticationOut | None
    rate_limit: int
    rate_limit_duration: int
    content_type: str
    failure_rate: float
    cb_state: Literal["closed", "half-open", "open"] | None
    period_failure_rate: float | None
    success_count: int | None
    failure_count: int | None
    retry_count: None
    mtls_client_cert: None
    created_at: Moment
    updated_at: Moment | None
    deleted_at: Moment | None


class ScopesOut(TypedDict):
    """A filter of all scopes."""

    is_flattened: bool
    headers: dict[str, Any]
    body: dict[str, Any]
    query: dict[str, Any]
    path: dict[str, Any]


class FilterConfigOut(TypedDict):
    """Which events a subscription wants."""

    event_types: tuple[str, ...]
    filter: ScopesOut


class RetryOut(TypedDict):
    """When what has failed is tried again; in seconds."""

    type: Literal["linear", "exponential"]
    duration: int
    retry_count: int


class RateOut(TypedDict):
    """How many attempts may start in how many seconds."""

    count: int
    duration: int


class HmacOut(TypedDict):
    """A header with a signature."""

    header: str
    hash: str
    secret: str
    encoding: str


class VerifierOut(TypedDict):
    """How senders prove who they are."""

    type: Literal["noop", "hmac", "basic_auth", "api_key"]
    hmac: HmacOut | None
    basic_auth: BasicAuthOut | None
    api_key: ApiKeyOut | None


class ResponseOut(TypedDict):
    """What senders are answered; empty: the usual."""

    body: str
    content_type: str


class CrcOut(TypedDict):
    """When a challenge was last answered."""

    crc_verified_at: Moment | None


class ProviderOut(TypedDict):
    """What is kept of a provider."""

    twitter: CrcOut


class SourceOut(TypedDict):
    """A source."""

    uid: str
    project_id: str
    mask_id: str
    name: str
    url: str
    type: str
    provider: str
    is_disabled: bool
    verifier: VerifierOut | None
    custom_response: ResponseOut
    provider_config: ProviderOut | None
    forward_headers: tuple[str, ...] | None
    pub_sub: None
    idempotency_keys: list[str] | None
    event_type_location: str
    body_function: None
    header_function: None
    created_at: Moment
    updated_at: Moment | None
    deleted_at: Moment | None


class SubscriptionOut(TypedDict):
    """A subscription."""

    uid: str
    name: str
    type: Literal["api", "cli"]
    project_id: str
    function: str | None
    source_metadata: SourceOut | None
    endpoint_metadata: EndpointOut | None
    device_metadata: None
    alert_config: None
    retry_config: RetryOut | None
    filter_config: FilterConfigOut
    rate_limit_config: RateOut | None
    delivery_mode: Literal["at_least_once", "at_most_once"]
    created_at: Moment
    updated_at: Moment | None
    deleted_at: Moment | None


class FilterOut(TypedDict):
    """A filter for one event type."""

    uid: str
    subscription_id: str
    event_type: str
    enabled_at: Moment | None
    headers: dict[str, Any]
    body: dict[str, Any]
    query: dict[str, Any]
    path: dict[str, Any]
    raw_headers: dict[str, Any]
    raw_body: dict[str, Any]
    raw_query: dict[str, Any]
    raw_path: dict[str, Any]
    created_at: Moment
    updated_at: Moment | None


class MatchOut(TypedDict):
    """Whether an event would pass."""

    is_match: bool


class RunOut(TypedDict):
    """What a function made of a payload, and what it logged."""

    payload: Json
    log: list[str]


class EventTypeOut(TypedDict):
    """A type of the catalogue."""

    uid: str
    name: str
    category: str
    description: str
    json_schema: dict[str, Any]
    deprecated_at: Moment | None


class ProofOut(TypedDict):
    """What came of asking for a token."""

    success: bool
    expires_at: Moment | None
    message: str
    error: NotRequired[str]
    access_token: NotRequired[str]
    token_type: NotRequired[str]


class FaultOut(TypedDict):
    """What is wrong with one row, counted from 1."""

    row: int
    field: str
    message: str


class RowsOut(TypedDict):
    """How many rows are in order, and what is wrong with the others."""

    total_rows: int
    valid_count: int
    errors: list[FaultOut]


class OnboardedOut(TypedDict):
    """How many endpoints were made."""

    batch_count: int
    total_items: int
    message: str


class NotOnboarded(Refused, frozen=True):
    """A refusal, with the rows where it is they that are wrong."""

    data: RowsOut | UnsetType = UNSET
