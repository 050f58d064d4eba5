"""The announcer: makes system events, in the transactions of the changes that they tell of."""

from collections.abc import Callable

from waypost.clock import IdSource
from waypost.model.ids import Id, alerts_of, is_of_alerts
from waypost.model.subscription import Subscription
from waypost.policy.system_events import (
    News,
    SubscriptionRecovered,
    change_of,
    event_of,
    is_mailed,
    is_watched,
    name_of,
    watched,
)
from waypost.storage import alerts, mails, system_events, told
from waypost.storage.connection import Connection
from waypost.storage.told import What


def _nobody() -> None:
    """Stands where nobody is to be told."""


class Announcer:
    """Makes system events.

    Attributes:
        mails: whether some of them are told by e-mail as well.
        follow: to be called on the loop when some were committed; sees to their delivery.
    """

    def __init__(self, source: IdSource, *, mails: bool = False) -> None:
        """Take the source of their ids."""
        self._ids = source
        self.mails = mails
        self.follow: Callable[[], None] = _nobody

    def new_id(self) -> Id:
        """Return the id of an event to come. For the loop's thread alone."""
        return self._ids.next()

    def announce(
        self,
        connection: Connection,
        project_id: Id,
        event_id: Id,
        news: News,
        owner: str | None = None,
    ) -> None:
        """Keep the event that tells of some news, in the transaction that makes them.

        What happens in hidden projects is told to nobody.

        Args:
            connection: inside a write.
            project_id: to whom.
            event_id: made ahead, on the loop.
            news: what it tells.
            owner: of the subscription that it is about.
        """
        if not is_of_alerts(project_id):
            event = event_of(project_id, event_id, news, owner=owner)
            system_events.keep(connection, event, mailed=self.mails and is_mailed(news))

    def announce_change(
        self,
        connection: Connection,
        before: Subscription,
        after: Subscription,
        event_id: Id,
        now_us: int,
    ) -> None:
        """Tell of a subscription that is disabled or suspended, or is so no more, if it is."""
        news = change_of(before, after, now_us)
        if news is None:
            return
        place = (after.project_id, after.id)
        if isinstance(news, SubscriptionRecovered):
            told.forget(connection, *place, What.FAILING)
        self.announce(connection, place[0], event_id, news, after.owner)
        if is_watched(news, before):
            self.tell_watchers(connection, after, event_id, news)

    def tell_watchers(
        self, connection: Connection, of: Subscription, event_id: Id, news: News
    ) -> None:
        """Tell who watches a subscription some news of it; see `Notices`."""
        known = of.notices
        email = known.email if self.mails else ""
        if known.watchers or email:
            hidden_id = alerts_of(of.project_id)
            payload = watched(news, known.about)
            alerts.make_project(connection, hidden_id)
            alerts.fan_out_notice(
                connection, hidden_id, event_id, name_of(news), payload, known.watchers
            )
            if email:
                mails.owe(connection, hidden_id, event_id, email)
