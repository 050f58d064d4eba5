from waypost.web.responses import ResponseHeads

DEFAULTS = [(b"date", b"today")]
JSON = b"application/json"


def test_a_response_is_one_piece() -> None:
    assert ResponseHeads().render(DEFAULTS, (202, b"{}", (), JSON), keep_alive=True) == (
        b"HTTP/1.1 202 Accepted\r\ndate: today\r\ncache-control: no-store\r\n"
        b"x-content-type-options: nosniff\r\ncontent-type: application/json\r\n"
        b"content-length: 2\r\n\r\n{}"
    )


def test_headers_and_a_close_are_added() -> None:
    headers = ((b"x-a", b"1"), (b"x-a", b"2"))
    answer = (404, b"", headers, b"text/plain")
    response = ResponseHeads().render([], answer, keep_alive=False)
    assert response.startswith(b"HTTP/1.1 404 Not Found\r\ncache-control")
    assert response.endswith(b"content-length: 0\r\nx-a: 1\r\nx-a: 2\r\nconnection: close\r\n\r\n")


def test_a_status_without_a_phrase_is_sent() -> None:
    response = ResponseHeads().render([], (299, b"", (), JSON), keep_alive=True)
    assert response.startswith(b"HTTP/1.1 299 \r\n")


def test_what_was_made_ahead_follows_the_servers_headers() -> None:
    heads = ResponseHeads()
    for day in (b"today", b"tomorrow"):
        defaults = [(b"date", day)]
        for status in (200, 202, 200):
            response = heads.render(defaults, (status, b"", (), JSON), keep_alive=True)
            assert b"date: %b\r\n" % day in response
            assert response.startswith(b"HTTP/1.1 %d " % status)
