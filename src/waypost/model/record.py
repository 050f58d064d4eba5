"""Records: what another API's clients set and only its surface reads, kept as it wrote it.

Where such an API has nouns that are none of ours, as an address that several subscriptions share,
its settings are kept beside what they come to in ours.
"""

import msgspec

from waypost.model.ids import Id


class Record(msgspec.Struct, frozen=True):
    """One thing of a surface's. When it was made is the moment in its id.

    Attributes:
        kind: what it is, as `convoy.endpoint`.
        body: JSON, which may hold secrets.
        parent: what it is a part of.
        changed_us: when it was changed last, UTC microseconds.
        deleted_us: when it was deleted; what refers to it may still name it.
    """

    project_id: Id
    kind: str
    id: Id
    body: bytes
    parent: Id | None = None
    changed_us: int = 0
    deleted_us: int | None = None
