import pytest

from waypost.web.fast import Header
from waypost.web.framing import (
    Framing,
    Refused,
    bound_head,
    check_target,
    read_framing,
    without_upgrade,
)
from waypost.web.limits import HttpLimits

HOST = (b"host", b"test")


@pytest.mark.parametrize(
    "headers,framing",
    [
        ([], Framing(None, expects=False, encoded=False)),
        ([(b"content-length", b"12")], Framing(12, expects=False, encoded=False)),
        ([(b"transfer-encoding", b"Chunked")], Framing(None, expects=False, encoded=False)),
        ([(b"expect", b"100-Continue")], Framing(None, expects=True, encoded=False)),
        ([(b"content-encoding", b"gzip")], Framing(None, expects=False, encoded=True)),
        ([(b"content-encoding", b"Identity")], Framing(None, expects=False, encoded=False)),
        (
            [(b"content-encoding", b"br"), (b"content-encoding", b"identity")],
            Framing(None, expects=False, encoded=True),
        ),
    ],
)
def test_the_headers_say_how_the_body_comes(headers: list[Header], framing: Framing) -> None:
    assert read_framing([HOST, *headers], "1.1") == framing


@pytest.mark.parametrize(
    "headers,version,status",
    [
        ([], "1.1", 400),
        ([HOST, HOST], "1.1", 400),
        ([HOST], "2.0", 505),
        ([HOST], "0.9", 505),
        ([HOST, (b"transfer-encoding", b"gzip")], "1.1", 501),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], "1.1", 501),
        ([HOST, *[(b"transfer-encoding", b"chunked")] * 2], "1.1", 501),
        ([HOST, (b"transfer-encoding", b"chunked")], "1.0", 400),
        ([HOST, (b"expect", b"tea")], "1.1", 417),
    ],
)
def test_contradictions_are_refused(headers: list[Header], version: str, status: int) -> None:
    with pytest.raises(Refused) as caught:
        read_framing(headers, version)
    assert caught.value.status == status


def test_an_old_client_needs_no_host_and_expects_nothing() -> None:
    assert not read_framing([(b"expect", b"100-continue")], "1.0").expects


@pytest.mark.parametrize("target", [b"/", b"/a?b=%20", b"*", b"http://test/a", b"//a"])
def test_targets_with_a_path_are_taken(target: bytes) -> None:
    check_target(target)


@pytest.mark.parametrize("target", [b"", b"a:1", b"http://test", b"/\xe9"])
def test_targets_without_a_path_are_not(target: bytes) -> None:
    with pytest.raises(Refused) as caught:
        check_target(target)
    assert caught.value.status == 400


def test_heads_are_bounded_by_each_measure() -> None:
    limits = HttpLimits(target_bytes=10, head_fields=2, head_bytes=30)
    bound_head(b"/" * 10, [(b"a", b"b" * 5), (b"a", b"b")], limits)
    for target, headers, status in [
        (b"/" * 11, [], 414),
        (b"/", [HOST, HOST, HOST], 431),
        (b"/", [(b"a", b"b" * 25)], 431),
    ]:
        with pytest.raises(Refused) as caught:
            bound_head(target, headers, limits)
        assert caught.value.status == status


def test_an_upgrade_is_taken_out_of_a_head() -> None:
    headers = [HOST, (b"connection", b"upgrade"), (b"upgrade", b"h2c")]
    assert without_upgrade(b"POST", b"/a", b"1.1", headers) == (
        b"POST /a HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\r\n"
    )
