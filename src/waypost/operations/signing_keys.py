"""Signing keys: made, shown to who may change the subscription, rotated, published."""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, islice
from typing import Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from waypost.clock import Clock, Entropy, IdSource
from waypost.engine.announcer import Announcer
from waypost.engine.configuration import Configuration
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.authentication import Authentication
from waypost.model.errors import Conflict, LimitReached
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.model.subscription import Inheritable, Signing, SigningKey, Subscription
from waypost.policy import settings, signing, timestamp
from waypost.policy.settings import Brought, Settings
from waypost.policy.system_events import SecretRotated, about
from waypost.storage import audit, authentications, signing_keys, subscriptions
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection
from waypost.storage.vault import Vault

OVERLAP_US: Final = 24 * 3600 * 1_000_000
"""How long a key goes on signing beside the one that has replaced it."""

OLD_KEYS_MAX: Final = 10
"""How many replaced keys may sign at once: a receiver has to try each signature."""

PUBLISHED_MAX: Final = 1_000
"""How many public keys one answer holds."""

_KEY_BITS: Final = 256

Keys = tuple[SigningKey, ...]
Changed = Callable[[Subscription, Keys], None]
Also = Callable[[Connection, Subscription, Keys], None]
"""What is done in the transaction of a change: told of the subscription and its keys."""


def nothing_else(_connection: Connection, _subscription: Subscription, _keys: Keys) -> None:
    """Do nothing else."""


class Rotation(msgspec.Struct, frozen=True):
    """How a secret is replaced.

    Attributes:
        overlap_us: how long the present one goes on signing beside the new one, microseconds; 0:
            not at all.
        alone: refused while an earlier one still signs.
    """

    overlap_us: int = OVERLAP_US
    alone: bool = False


STANDARD_ROTATION: Final = Rotation()


class PublicKey(msgspec.Struct, frozen=True):
    """A key that everybody may see, as a JSON Web Key, until it expires (UTC microseconds)."""

    jwk: dict[str, str]
    expires_at_us: int | None


class SigningKeys:
    """What people ask of a subscription's secrets.

    The public keys of all subscriptions are held in memory, since everybody may ask for them.
    """

    def __init__(
        self,
        configuration: Configuration,
        vault: Vault,
        changed: Changed,
        clock: Clock,
        entropy: Entropy,
        source: IdSource,
        announcer: Announcer,
    ) -> None:
        """Take what keys are kept in, and who is told of a subscription's keys on the loop."""
        self._configuration = configuration
        self._store = configuration.store
        self._vault = vault
        self._changed = changed
        self._clock = clock
        self._entropy = entropy
        self._ids = source
        self._announcer = announcer
        self._public: dict[Id, tuple[PublicKey, ...]] = {}

    async def load(self) -> dict[Id, Keys]:
        """Return the keys of every subscription, by the subscription's id, at start.

        Raises:
            ConfigInvalid: one can't be decrypted.
        """
        keys = await self._store.read(self.load_all)
        for subscription_id, own in keys.items():
            self.publish(subscription_id, own)
        return keys

    async def valid(
        self, principal: Principal, subscription_id: Id, *, api: Api | None = None
    ) -> Keys:
        """Return the keys that sign now: the present one, and then those that it has replaced.

        Raises:
            NotFound: the project has no such subscription, made by `api`.
        """
        project_id, now_us = principal.project_id, self._clock.now_us()

        def read(connection: Connection) -> Keys:
            subscriptions.get(connection, project_id, subscription_id, api)
            return self.list_all(connection, project_id, subscription_id)

        return valid_of(await self._store.read(read), now_us)

    async def secret(self, principal: Principal, subscription_id: Id) -> str:
        """Return the present secret: `whsec_…`, or of an ed25519 key the public half, `whpk_…`.

        Raises:
            NotFound: the project has no such subscription.
        """
        key = (await self.valid(principal, subscription_id))[0]
        if key.scheme is Signing.ED25519:
            return signing.spell_public_key(key)
        return signing.spell_secret(key)

    async def present(
        self, principal: Principal, subscription_ids: Collection[Id]
    ) -> dict[Id, SigningKey]:
        """Return the present key of each of these subscriptions, and alert endpoints, that exist.

        They are to be shown to those only who may change the subscription.
        """
        project_id = principal.project_id

        def read(connection: Connection) -> dict[Id, SigningKey]:
            found: dict[Id, SigningKey] = {}
            for one in (project_id, ids.alerts_of(project_id)):
                found |= signing_keys.list_present(connection, self._vault, one, subscription_ids)
            return found

        return await self._store.read(read)

    async def rotate(
        self,
        principal: Principal,
        subscription_id: Id,
        how: Rotation = STANDARD_ROTATION,
        *,
        api: Api | None = None,
        also: Also = nothing_else,
    ) -> None:
        """Replace the present secret.

        Args:
            principal: who asks.
            subscription_id: whose.
            how: for how long the present one goes on signing.
            api: the API that the subscription must have been made by; None for any.
            also: done in the same transaction; told of all keys, newest first.


        Raises:
            NotFound: the project has no such subscription, made by `api`.
            Conflict: an earlier secret still signs, and must not.
            LimitReached: as many old secrets as there may be are still valid.
        """
        project_id = principal.project_id
        made = {scheme: self.make(scheme) for scheme in Signing}
        record_id, now_us = self._ids.next_at()
        event_id = self._announcer.new_id()

        def write(connection: Connection) -> tuple[Subscription, Keys]:
            subscription = subscriptions.get(connection, project_id, subscription_id, api)
            key = made[subscription.signing]
            keys = self.replace(connection, subscription, key, now_us, event_id, how)
            also(connection, subscription, keys)
            subject = ids.spell(ids.SUBSCRIPTION, subscription_id)
            audit.record(connection, principal, record_id, "secret.rotate", subject)
            record(connection, Kind.SUBSCRIPTION, project_id, subscription_id)
            return subscription, keys

        def after(result: tuple[Subscription, Keys]) -> None:
            self.tell(*result)
            self._announcer.follow()

        await self._configuration.change(write, after)

    def published(self, subscription_id: Id | None = None) -> list[dict[str, str]]:
        """Return the public keys that are valid now, of all subscriptions or one; 1,000 at most."""
        now_us = self._clock.now_us()
        return [key.jwk for key in islice(self._valid(subscription_id, now_us), PUBLISHED_MAX)]

    def _valid(self, subscription_id: Id | None, now_us: int) -> Iterator[PublicKey]:
        if subscription_id is None:
            found: Iterable[PublicKey] = chain.from_iterable(self._public.values())
        else:
            found = self._public.get(subscription_id, ())
        return (key for key in found if key.expires_at_us is None or key.expires_at_us > now_us)

    # For the operations on subscriptions: in their transactions, and after them.

    def make(self, scheme: Signing) -> SigningKey:
        """Return a new key. For the loop's thread alone."""
        material = self._entropy.bits(_KEY_BITS).to_bytes(_KEY_BITS // 8, "big")
        return SigningKey(self._ids.next(), scheme, material)

    def make_text(self) -> SigningKey:
        """Return a new key for HMAC that is text, for receivers that take it as it is spelled."""
        made = self.make(Signing.HMAC)
        return msgspec.structs.replace(made, material=made.material.hex().encode())

    def load_all(self, connection: Connection) -> dict[Id, Keys]:
        """Return the keys of every subscription, by the subscription's id.

        Raises:
            ConfigInvalid: one can't be decrypted.
        """
        found = signing_keys.load_all(connection, self._vault)
        return {subscription_id: keys for (_, subscription_id), keys in found.items()}

    def list_all(self, connection: Connection, project_id: Id, subscription_id: Id) -> Keys:
        """Return a subscription's keys, newest first."""
        return signing_keys.list_all(connection, self._vault, project_id, subscription_id)

    def insert(self, connection: Connection, subscription: Subscription, key: SigningKey) -> Keys:
        """Keep a new subscription's first key."""
        signing_keys.insert(connection, self._vault, subscription.project_id, subscription.id, key)
        return (key,)

    def replace(
        self,
        connection: Connection,
        subscription: Subscription,
        key: SigningKey,
        now_us: int,
        event_id: Id,
        how: Rotation = STANDARD_ROTATION,
    ) -> Keys:
        """Put a new key in the place of the present one, which is valid for a while more.

        `event_id` is that of the system event that tells of it.

        Raises:
            Conflict: an earlier one is still valid, and must not be.
            LimitReached: as many old keys as there may be are still valid.
        """
        place = (subscription.project_id, subscription.id)
        signing_keys.delete_expired(connection, *place, now_us)
        present = self.list_all(connection, *place)
        if how.alone and len(present) > 1:
            raise Conflict("The secret that the present one has replaced is still valid.")
        if len(present) > OLD_KEYS_MAX:
            raise LimitReached(f"No more than {OLD_KEYS_MAX} old secrets may be valid at once.")
        signing_keys.expire(connection, *place, now_us + how.overlap_us)
        if how.overlap_us == 0:
            # Signatures are made by whole seconds: what is kept would be good to the end of this.
            signing_keys.delete_expired(connection, *place, now_us)
        signing_keys.insert(connection, self._vault, *place, key)
        overlap_until = timestamp.spell(now_us + how.overlap_us)
        news = SecretRotated(**about(subscription, now_us), overlap_until=overlap_until)
        self._announcer.announce(connection, place[0], event_id, news, subscription.owner)
        return self.list_all(connection, *place)

    def brought(self, wanted: Settings) -> SigningKey | None:
        """Return the key that comes with settings of another API; None where none does."""
        if not isinstance(wanted, Brought) or wanted.secret is UNSET:
            return None
        key = self.make_text()
        return key if wanted.secret is None else replace(key, material=wanted.secret)

    def merged(
        self, present: Subscription, wanted: Settings, defaults: Inheritable
    ) -> Subscription:
        """Return a subscription with checked settings merged in, those encrypted that are.

        `defaults` are those of its project.
        """
        merged, given = settings.merge(present, wanted, defaults), wanted.authentication
        if given is UNSET:
            return merged
        if given is None:
            return replace(merged, authentication=None)
        kept = authentications.seal(self._vault, merged.project_id, merged.id, given)
        return replace(merged, authentication=kept)

    def authentication(self, subscription: Subscription) -> Authentication | None:
        """Return how a subscription authenticates, decrypted: for who may set it.

        Raises:
            ConfigInvalid: it can't be decrypted.
        """
        return authentications.opened(self._vault, subscription)

    def put(self, connection: Connection, subscription: Subscription, keys: Keys) -> Keys:
        """Keep these keys of a subscription, at once in place of those that it had."""
        place = (subscription.project_id, subscription.id)
        signing_keys.delete_all(connection, *place)
        for key in keys:
            signing_keys.insert(connection, self._vault, *place, key)
        return keys

    def tell(self, subscription: Subscription, keys: Keys) -> None:
        """Let what is in memory follow a commit that changed a subscription or its keys."""
        self.publish(subscription.id, keys)
        self._changed(subscription, keys)

    def publish(self, subscription_id: Id, keys: Keys) -> None:
        """Publish the public keys among a subscription's keys, in place of those it had."""
        public = tuple(
            PublicKey(signing.public_jwk(key), key.expires_at_us)
            for key in keys
            if key.scheme is Signing.ED25519
        )
        if public:
            self._public[subscription_id] = public
        else:
            self._public.pop(subscription_id, None)


def valid_of(keys: Keys, now_us: int) -> Keys:
    """Return those that are valid at a moment, UTC microseconds, the present one first."""
    valid = [key for key in keys if key.expires_at_us is None or key.expires_at_us > now_us]
    return tuple(sorted(valid, key=lambda key: key.expires_at_us is not None))
