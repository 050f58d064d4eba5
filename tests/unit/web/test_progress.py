import pytest

from waypost.web.framing import Refused
from waypost.web.limits import BODY, HEAD
from waypost.web.progress import Progress


def test_half_a_head_is_bounded() -> None:
    progress = Progress()
    progress.chunk = 50
    progress.bound(HEAD, 100, split=False)
    progress.bound(HEAD, 100, split=True)
    assert progress.carried == 51
    with pytest.raises(Refused) as caught:
        progress.bound(HEAD, 100, split=True)
    assert caught.value.status == 431


def test_what_is_no_part_of_a_body_is_bounded() -> None:
    progress = Progress()
    progress.chunk = 60
    for _ in range(10):
        progress.received += 1
        progress.bound(BODY, 100, split=False)
    progress.bound(BODY, 100, split=False)
    with pytest.raises(Refused) as caught:
        progress.bound(BODY, 100, split=False)
    assert caught.value.status == 431
    progress.begin_body()
    assert progress.received == 0
    progress.bound(BODY, 100, split=False)
