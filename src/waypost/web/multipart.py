"""Forms with files (RFC 7578), as far as one file is looked for in a whole body."""

from email.parser import BytesParser
from email.policy import HTTP
from itertools import islice
from typing import Final

from waypost.model.errors import InvalidInput

PARTS_MAX: Final = 20


def file_of(content_type: str, body: bytes, name: str) -> bytes:
    """Return what the part of a form with this name holds.

    Args:
        content_type: of the body: multipart/form-data with its boundary.
        body: the whole of it.
        name: the field's.

    Raises:
        InvalidInput: it is no such form, or has no such part.
    """
    try:
        head = f"content-type: {content_type}\r\n\r\n".encode("latin-1")
    except UnicodeEncodeError as error:
        raise _refusal(name) from error
    form = BytesParser(policy=HTTP).parsebytes(head + body)
    if not form.is_multipart():
        raise _refusal(name)
    for part in islice(form.iter_parts(), PARTS_MAX):
        if part.get_param("name", header="content-disposition") == name:
            held = part.get_payload(decode=True)
            if isinstance(held, bytes):
                return held
    raise _refusal(name)


def _refusal(name: str) -> InvalidInput:
    return InvalidInput(details=[(name, "must be a file in a form (multipart/form-data)")])
