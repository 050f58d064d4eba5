"""The guard: every outgoing connection is opened here, to an address that was vetted.

What is checked is what is dialled: the host name is resolved once, every address of the answer
must be permitted, and the socket is connected to one of them as a literal. The socket is asked
again whom it reached before a byte is sent.
"""

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Final

from waypost.egress.resolver import ResolveFailed, Resolver
from waypost.model.exchange import FailureKind
from waypost.policy.egress import EgressRules, covers, may_connect, normalise
from waypost.policy.urls import Destination

CONNECT_S: Final = 5.0
ADDRESSES_TRIED: Final = 6
NOT_ALLOWED: Final = "the target is not allowed"


class Refused(Exception):
    """No connection came about.

    Attributes:
        kind: what kind of failure the attempt ends with.
        text: one sentence for people, without any resolved address.
    """

    def __init__(self, kind: FailureKind, text: str) -> None:
        """Keep kind and text."""
        super().__init__(text)
        self.kind = kind
        self.text = text


class Guard:
    """Vets addresses and connects to them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rules: EgressRules,
        resolver: Resolver,
        *,
        connect_s: float = CONNECT_S,
    ) -> None:
        """Take what may be reached, and the resolver that is asked for host names."""
        self._loop = loop
        self._rules = rules
        self._resolver = resolver
        self._connect_s = connect_s

    async def addresses(self, destination: Destination) -> Sequence[str]:
        """Return the addresses of a destination, all of them vetted.

        A literal address is not resolved.

        Raises:
            Refused: the host has no address, or one that is not permitted.
        """
        if normalise(destination.host) is not None:
            found: Sequence[str] = (destination.host,)
        else:
            try:
                found = await self._resolver.resolve(destination.host)
            except ResolveFailed as error:
                raise Refused(FailureKind.RESOLVE, str(error)) from error
        if not all(self._admits(address, destination) for address in found):
            raise Refused(FailureKind.DENIED, NOT_ALLOWED)
        return [str(normalise(address)) for address in found]

    async def connect(self, addresses: Sequence[str], destination: Destination) -> socket.socket:
        """Connect to the first of some vetted addresses that answers.

        The addresses are tried in turn, each for its share of the time that is left.

        Raises:
            Refused: none answered in time.
        """
        tried = addresses[:ADDRESSES_TRIED]
        until = self._loop.time() + self._connect_s
        refusal = Refused(FailureKind.CONNECT, "could not connect")
        for index, address in enumerate(tried):
            share = (until - self._loop.time()) / (len(tried) - index)
            try:
                async with asyncio.timeout(share):
                    return await self._connect(address, destination)
            except TimeoutError:
                refusal = Refused(FailureKind.TIMEOUT, "the receiver did not accept in time")
            except OSError as error:
                reason = os.strerror(error.errno).lower() if error.errno else "no route"
                refusal = Refused(FailureKind.CONNECT, f"could not connect: {reason}")
        raise refusal

    async def _connect(self, address: str, destination: Destination) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connected = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            connected.setblocking(False)
            await self._loop.sock_connect(connected, (address, destination.port))
            reached = str(connected.getpeername()[0])
        except BaseException:
            connected.close()
            raise
        if normalise(reached) != normalise(address) or not self._admits(reached, destination):
            connected.close()
            raise Refused(FailureKind.DENIED, NOT_ALLOWED)
        return connected

    def _admits(self, address: str, destination: Destination) -> bool:
        if covers(address, self._rules):
            return True
        # Beyond what the operator opened nothing travels in the clear, and nothing comes home.
        return (
            destination.scheme == "https"
            and may_connect(address, destination.port, self._rules)
            and not is_own(address)
        )


def is_own(address: str) -> bool:
    """Say whether an address is one of this machine's interfaces, as the kernel routes now.

    Connecting a datagram socket sends nothing; the kernel answers with the source address that it
    would use, and for an address of its own that is the address itself.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False
        return normalise(str(probe.getsockname()[0])) == normalise(address)
