"""Forms with files."""

import pytest

from waypost.model.errors import InvalidInput
from waypost.web.multipart import PARTS_MAX, file_of

TYPE = "multipart/form-data; boundary=b"


def part(name: str, held: str) -> str:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n{held}\r\n'


def test_a_file_is_found_among_the_parts() -> None:
    body = part("other", "x") + part("file", "a,b\r\n1,2") + "--b--\r\n"
    assert file_of(TYPE, body.encode(), "file").split() == [b"a,b", b"1,2"]


@pytest.mark.parametrize(
    "content_type, body",
    [
        (TYPE, part("other", "x") + "--b--"),
        (TYPE, "nonsense"),
        ("multipart/form-data", part("file", "x") + "--b--"),
        ("multipart/form-data; boundary=\u20ac", part("file", "x")),
        (TYPE, part("other", "x") * PARTS_MAX + part("file", "x") + "--b--"),
    ],
)
def test_what_is_no_such_form_is_refused(content_type: str, body: str) -> None:
    with pytest.raises(InvalidInput, match="file: must be a file in a form"):
        file_of(content_type, body.encode(), "file")
