"""Forms become flat JSON: the first value of each name, no files."""

import pytest

from waypost.model.errors import InvalidInput
from waypost.policy.forms import FIELDS_MAX, MULTIPART, URLENCODED, as_json, is_form

PARTS = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n2\r\n'
    b'--b\r\ncontent-type: text/plain\r\ncontent-disposition: form-data; name="c"\r\n\r\n\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n\xff\r\n'
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n3\r\n--b--\r\n'
)


@pytest.mark.parametrize(
    "content_type, wanted",
    [
        (URLENCODED, True),
        (f"{URLENCODED}; charset=utf-8", True),
        ("Multipart/Form-Data; boundary=b", True),
        ("application/json", False),
        ("multipart/mixed", False),
        (None, False),
    ],
)
def test_what_is_a_form(content_type: str | None, wanted: bool) -> None:
    assert is_form(content_type) is wanted


@pytest.mark.parametrize(
    "content_type, body, wanted",
    [
        (URLENCODED, b"a=1&b=%7B%22x%22%3A1%7D&a=2&c=", b'{"a":"1","b":"{\\"x\\":1}","c":""}'),
        (URLENCODED, b"a+b=c+d", b'{"a b":"c d"}'),
        (f"{MULTIPART}; boundary=b", PARTS, b'{"a":"1\\r\\n2","c":""}'),
        (f'{MULTIPART}; boundary="b"', PARTS, b'{"a":"1\\r\\n2","c":""}'),
    ],
)
def test_a_form_is_json(content_type: str, body: bytes, wanted: bytes) -> None:
    assert as_json(content_type, body) == wanted


@pytest.mark.parametrize(
    "content_type, body",
    [
        (URLENCODED, b"a=%ff"),
        (URLENCODED, b"a=\xff"),
        (URLENCODED, b"a=1&" * (FIELDS_MAX + 1)),
        (MULTIPART, PARTS),
        (f"{MULTIPART}; boundary=c", PARTS),
        (f"{MULTIPART}; boundary=b", PARTS[:-6]),
        (f"{MULTIPART}; boundary=b", b"--b\r\nx: y\r\n\r\n1\r\n--b--"),
        (f"{MULTIPART}; boundary=b", b'--b\r\ncontent-disposition: form-data; name="a"\r\n--b--'),
        (f"{MULTIPART}; boundary=b", b"--b" + b"\r\n--b" * (FIELDS_MAX + 2) + b"--"),
    ],
)
def test_what_is_none_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(InvalidInput) as refusal:
        as_json(content_type, body)
    assert refusal.value.details == (("body", "is not a form in UTF-8"),)
