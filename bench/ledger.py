"""The ledger: every acknowledged event was received exactly once, and nothing else was.

Times are nanoseconds of CLOCK_MONOTONIC, which all processes of one Linux machine share.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import wire

ALTERED = b"?" * wire.SEQUENCE_DIGITS
"""The sequence that the receiver writes down for a body that is not what the generator sends."""


@dataclass(frozen=True, slots=True)
class Posted:
    """An event that was answered 202."""

    sequence: int
    intended_ns: int
    sent_ns: int
    acked_ns: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ledger says of one run; each list holds at most `SHOWN` tokens as examples."""

    acknowledged: int
    received: int
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    altered: int = 0
    examples: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True when nothing was lost, doubled, invented or altered."""
        return not (self.lost or self.doubled or self.unknown or self.altered)

    def __str__(self) -> str:
        """One line for people."""
        if self.ok:
            return f"{self.acknowledged:,} acknowledged, each received once"
        return (
            f"{self.acknowledged:,} acknowledged, {self.received:,} received: {self.lost} lost, "
            f"{self.doubled} doubled, {self.unknown} unknown, {self.altered} altered"
        )


SHOWN = 5

Receipt = tuple[bytes, bytes, int]


class LedgerError(RuntimeError):
    """A run that cannot be measured at all, because nothing of it arrived."""


class Ledger:
    """Both sides of one run."""

    def __init__(self) -> None:
        """An empty ledger."""
        self.posted: dict[bytes, Posted] = {}
        self.first_receipts: dict[bytes, int] = {}
        self.receipts = 0
        self._faults: dict[str, list[bytes]] = {}

    def add_posted(self, rows: Iterable[tuple[bytes, int, int, int, int]]) -> None:
        """Enter acknowledged posts: (token, sequence, intended, sent, acknowledged).

        A token that was given out twice is entered as unknown: two events cannot share one.
        """
        for token, sequence, intended, sent, acked in rows:
            key = token.rstrip(b"\0")
            if key in self.posted:
                self._fault("unknown", key)
            self.posted[key] = Posted(sequence, intended, sent, acked)

    def add_received(self, rows: Iterable[Receipt]) -> None:
        """Enter deliveries: (token, sequence digits, received). All posts must be in before."""
        for token, digits, received in rows:
            key = token.rstrip(b"\0")
            self.receipts += 1
            if key in self.first_receipts:
                self._fault("doubled", key)
                continue
            self.first_receipts[key] = received
            posted = self.posted.get(key)
            if posted is None:
                self._fault("unknown", key)
            elif digits == ALTERED or int(digits) != posted.sequence:
                self._fault("altered", key)

    @property
    def doubled(self) -> Sequence[bytes]:
        """The tokens of second and further receipts."""
        return self._faults.get("doubled", [])

    def verdict(self) -> Verdict:
        """Compare both sides."""
        lost = [token for token in self.posted if token not in self.first_receipts]
        faults = {"lost": lost, **self._faults}
        return Verdict(
            acknowledged=len(self.posted),
            received=self.receipts,
            lost=len(lost),
            doubled=len(faults.get("doubled", ())),
            unknown=len(faults.get("unknown", ())),
            altered=len(faults.get("altered", ())),
            examples={
                kind: [token.decode("ascii", "replace") for token in tokens[:SHOWN]]
                for kind, tokens in faults.items()
                if tokens
            },
        )

    def _fault(self, kind: str, token: bytes) -> None:
        self._faults.setdefault(kind, []).append(token)


def read_ledger(posted: Iterable[Path], received: Path) -> Ledger:
    """The ledger of the files that the load generators and the receiver wrote."""
    ledger = Ledger()
    for path in posted:
        ledger.add_posted(wire.POSTED.iter_unpack(path.read_bytes()))
    ledger.add_received(wire.RECEIVED.iter_unpack(received.read_bytes()))
    return ledger
