import json
from pathlib import Path

from tests.torture import ledger
from tests.torture.ledger import Answered, Ended, Ledger, Line, Posted, Received, Replied


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    lines: list[Line] = [
        Posted(1, "a.b", None, 3, 1.5),
        Answered(1, 2.0, 202, "evt_1", duplicate=False),
        Received(1, "steady", "evt_1", 1, 2.5, signed=True, intact=True),
        Replied(1, 2.6, 204),
        Ended(3.0, killed=True),
    ]
    for line in lines:  # each by a ledger of its own: the file is appended to
        book = Ledger(tmp_path / "ledger")
        book.write(line)
        book.close()
    assert list(ledger.read(tmp_path / "ledger")) == lines


def test_a_payload_tells_its_number_and_is_json() -> None:
    for n in (0, 7, 12_345):
        body = ledger.payload(n)
        assert ledger.number(body) == n == json.loads(body)["n"]


def test_a_payload_does_not_survive_being_written_anew() -> None:
    body = ledger.payload(3)
    assert json.dumps(json.loads(body)).encode() != body


def test_a_strange_body_has_no_number() -> None:
    assert ledger.number(b"") == ledger.number(b'{"n": x,') == ledger.number(b"[1]") == -1
