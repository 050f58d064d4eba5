import pytest

from waypost.policy.media import charset, essence, is_json, is_media_type


@pytest.mark.parametrize(
    "text",
    [
        "application/json",
        "application/json; charset=utf-8",
        "text/plain;charset=UTF-8",
        'multipart/mixed; boundary="a b"',
        "application/vnd.apache.thrift.binary",
        "image/svg+xml",
        "a/" + "b" * 254,
    ],
)
def test_a_media_type_is_one(text: str) -> None:
    assert is_media_type(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "json",
        "/json",
        "text/",
        " text/plain",
        "text/plain\r\nx: y",
        "text/plain;\n",
        "text/plain; a=\x00",
        "text/plain; é",
        "text/plain, text/html",
        "a/" + "b" * 255,
    ],
)
def test_what_could_break_a_header_is_none(text: str) -> None:
    assert not is_media_type(text)


@pytest.mark.parametrize(
    "text, json",
    [
        (None, True),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("text/json", True),
        ("application/vnd.example+json", True),
        ("application/cloudevents+json ; a=b", True),
        ("application/xml", False),
        ("application/jsonl", False),
        ("application/notjson", False),
        ("text/plain; format=x/json", False),
    ],
)
def test_json_is_known_by_its_subtype(text: str | None, json: bool) -> None:
    assert is_json(text) is json


@pytest.mark.parametrize(
    "text, name",
    [
        ("text/plain", "utf-8"),
        ("text/plain; charset=ISO-8859-1", "iso-8859-1"),
        ('text/plain; a=b;CharSet="us-ascii"', "us-ascii"),
        ("text/plain; xcharset=latin-1", "utf-8"),
    ],
)
def test_a_charset_is_utf_8_unless_it_is_named(text: str, name: str) -> None:
    assert charset(text) == name


def test_the_essence_is_without_parameters_and_case() -> None:
    assert essence(" Text/Plain ; Charset=X") == "text/plain"
