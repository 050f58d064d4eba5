"""JavaScript: what a program may return, and what becomes of one that does not behave.

What no limit inside the engine stops is tried where there is a process to lose.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.sandbox import frames, javascript
from waypost.sandbox.frames import Answer, Request

PAYLOAD = b'{"id": 1, "user": {"name": "ada"}, "tags": ["a", "b"], "rate": 1.50}'
LIMIT_S = 0.2
MEMORY = 16 * 1024 * 1024

# A text's escapes are lost on neither side: `json.loads` reads \ud800, the standard allows it.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(-1e15, 1e15)  # beyond that the same number is spelled as an integer
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def run(source: str, payload: bytes = PAYLOAD, flags: int = 0, event: bytes = b"{}") -> Answer:
    request = Request(frames.JAVASCRIPT, flags, source.encode(), payload, event)
    return javascript.run(request, LIMIT_S, MEMORY)


def body(text: str, **options: Any) -> Answer:
    """Run a function with this body."""
    return run(f"function transform(payload, event) {{ {text} }}", **options)


def beside(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.beside)
    return found


def error(answer: Answer) -> dict[str, Any]:
    assert answer.kind == frames.ERROR, answer
    found: dict[str, Any] = beside(answer)["error"]
    return found


@pytest.mark.parametrize(
    "text, payload",
    [
        ("return {name: payload.user.name}", b'{"name":"ada"}'),
        ("payload.id += 1; return payload.id", b"2"),
        ("return null", b"null"),
        ("return [payload.tags, undefined]", b'[["a","b"],null]'),
        ("return 'x'", b'"x"'),
        ("return event.owner", b'"o"'),
        ("return {payload: {payload: 1}}", b'{"payload":1}'),
        ("return {payload: [], headers: null, skip: false}", b"[]"),
        ("return {payload: 1, other: 2}", b'{"payload":1,"other":2}'),
        ("return {}", b"{}"),
        ("return 0/0", b"null"),
        ("return '\\u0000\\ud800'", b'"\\u0000\\ud800"'),
        ("return {toJSON() { return 5 }}", b"5"),
        ("return new Date(0)", b'"1970-01-01T00:00:00.000Z"'),
        ("return new Date(0).getTimezoneOffset()", b"0"),
        ("return new Map([[1, 2]])", b"{}"),
        ("return 12345678901234567890n", b"12345678901234567890"),
    ],
)
def test_what_is_returned_is_the_payload(text: str, payload: bytes) -> None:
    answer = body(text, event=b'{"owner": "o"}')
    assert (answer.kind, answer.payload) == (frames.PAYLOAD, payload), answer


@pytest.mark.parametrize(
    "text",
    [
        "return payload",
        "return {payload}",
        "return {headers: {'x-a': 'b'}}",
        "return JSON.parse(JSON.stringify(payload))",
        "payload.id = 2; return {skip: false}",
        "payload.id = 2; payload.id = 1; return payload",
    ],
)
def test_what_is_not_touched_stays_the_very_bytes(text: str) -> None:
    assert body(text).kind == frames.UNTOUCHED


@pytest.mark.parametrize(
    "source",
    [
        "function transform(payload) { return 5 }",
        "const transform = payload => 5",
        "let transform = function () { return 5 }",
        "'use strict'; var transform = () => 5",
        "function transform() { return 5 } // and no line behind this",
        "function transform() { return helper() }\nconst helper = () => 5",
        "globalThis.transform = () => 5",
        "class A { run() { return 5 } }\nconst transform = new A().run",
    ],
)
def test_the_function_is_found_however_it_is_declared(source: str) -> None:
    assert run(source).payload == b"5"


@pytest.mark.parametrize(
    "text, headers",
    [
        (
            "return {headers: {'x-a': 'b', 'x-n': 5, 'x-t': true}}",
            {"x-a": "b", "x-n": "5", "x-t": "true"},
        ),
        ("return {headers: {'x-a': null, 'x-b': undefined}}", {}),
        ("return {headers: {__proto__: {a: 'b'}, 'x-a': 1n}}", {"x-a": "1"}),
        ("return {headers: {'x-a': '\\ud800'}}", {"x-a": "?"}),
    ],
)
def test_headers_are_texts(text: str, headers: dict[str, str]) -> None:
    assert beside(body(text))["headers"] == headers


def test_skip_leaves_nothing() -> None:
    assert body("return {skip: true, payload: 5, headers: {a: 'b'}}").kind == frames.SKIP


@pytest.mark.parametrize(
    "text, kind, message",
    [
        ("", "result", "undefined was returned, which is no JSON"),
        ("return () => 1", "result", "function was returned, which is no JSON"),
        ("return Symbol()", "result", "symbol was returned, which is no JSON"),
        ("return {payload: undefined}", "result", "undefined was returned, which is no JSON"),
        (
            "return Promise.resolve(1)",
            "result",
            "a promise was returned, which nobody waits for",
        ),
        (
            "return {payload: Promise.resolve(1)}",
            "result",
            "a promise was returned, which nobody waits for",
        ),
        ("return {skip: 1}", "result", "skip is neither true nor false"),
        ("return {skip: 'no'}", "result", "skip is neither true nor false"),
        ("return {headers: []}", "result", "headers is no object"),
        ("return {headers: 'x'}", "result", "headers is no object"),
        ("return {headers: {'x-a': {}}}", "result", "headers.x-a is no text"),
        ("return {headers: {'x-a': Symbol()}}", "result", "headers.x-a is no text"),
        ("const a = {}; a.a = a; return a", "exception", "TypeError: circular reference"),
        ("throw new Error('oh\\nno')", "exception", "Error: oh\nno"),
        ("throw 'x'", "exception", "x"),
        ("throw null", "exception", "null was thrown, as it is where no memory is left"),
        ("throw undefined", "exception", "undefined"),
        ("throw {a: 1}", "exception", '{"a":1}'),
        ("throw {toJSON() { throw 1 }}", "exception", "something was thrown that can't be shown"),
        (
            "throw new Proxy({}, {get() { throw 1 }})",
            "exception",
            "something was thrown that can't be shown",
        ),
        ("throw 'y'.repeat(5000)", "exception", "y" * 1000 + "…"),
        ("throw '\\ud800'", "exception", "\ufffd"),
        ("return {get headers() { throw new Error('got') }}", "exception", "Error: got"),
        ("return {toJSON() { throw new Error('no') }}", "exception", "Error: no"),
    ],
)
def test_what_is_no_answer_is_refused(text: str, kind: str, message: str) -> None:
    found = error(body(text))
    assert (found["kind"], found["message"]) == (kind, message)


@pytest.mark.parametrize(
    "source, line",
    [
        ("function transform(p) {\n\n  return p.none.name\n}", 3),
        (
            "function transform() { return help() }\nfunction help() { throw new RangeError('x') }",
            2,
        ),
        ("const transform = () => JSON.parse('{')", 1),
        ("const transform = () =>\n  [1].map(() => { throw new Error('in a native') })", 2),
        ("const transform = () => { const a = {}; a.a = a; return a }", None),
        ("function transform() { throw 'no error at all' }", None),
    ],
)
def test_a_fault_names_its_line(source: str, line: int | None) -> None:
    assert error(run(source)).get("line") == line


@pytest.mark.parametrize(
    "source, message, line",
    [
        ("let x = ;", "SyntaxError: unexpected token in expression: ';'", 1),
        ("\nfunction transform( {", "SyntaxError: ", 2),
        ("const a = 'b\n", "SyntaxError: ", 1),
        ("function transform() {} /*", "SyntaxError: unexpected end of comment", 1),
        ("function transform() {} }", "SyntaxError: ", 1),
        ("", "there is no function named transform", None),
        ("const transform = 5", "there is no function named transform", None),
        ("function Transform() {}", "there is no function named transform", None),
        ("async function transform() {}", "transform must be an ordinary function", None),
        ("function* transform() {}", "transform must be an ordinary function", None),
        ("const transform = async () => 1", "transform must be an ordinary function", None),
        ("\nthrow new Error('top')", "Error: top", 2),
        ("import x from 'y'", "SyntaxError: ", 1),
        ("await 1", "SyntaxError: ", 1),
        ("require('fs'); function transform() {}", "ReferenceError: ", 1),
    ],
)
def test_what_does_not_compile_is_told_so(source: str, message: str, line: int | None) -> None:
    found = error(run(source, flags=frames.CHECK))
    assert found["kind"] == "compile"
    assert found["message"].startswith(message)
    assert found.get("line") == line


def test_what_compiles_is_good() -> None:
    source = "function transform(payload) { return payload.none.name }"
    assert run(source, flags=frames.CHECK).kind == frames.GOOD


def stopped(answer: Answer) -> str:
    """Return what a program was stopped for; where memory runs out, it may do so for the error."""
    found = error(answer)
    return "memory" if "no memory is left" in found["message"] else str(found["kind"])


@pytest.mark.parametrize("flags", [0, frames.CHECK, frames.LOG])
@pytest.mark.parametrize(
    "source",
    [
        "while (true) {}",
        "function transform() {} for (;;) {}",
        "const a = []; while (true) a.push(new Array(1000).fill(1))",
        "try { while (true) {} } catch { while (true) {} } finally { while (true) {} }",
    ],
)
def test_a_program_that_never_begins_is_stopped(source: str, flags: int) -> None:
    assert stopped(run(source, flags=flags)) in {"timeout", "memory"}


@pytest.mark.parametrize(
    "text, kind",
    [
        ("while (true) {}", "timeout"),
        ("for (;;) { try { for (;;) {} } finally { continue } }", "timeout"),
        ("return /^(a+)+$/.test('a'.repeat(60) + 'b')", "timeout"),
        ("return new Array(2 ** 32 - 1).indexOf(5)", "timeout"),
        ("return {get headers() { while (true) {} }}", "timeout"),
        ("return {toJSON() { while (true) {} }}", "timeout"),
        ("throw {get message() { while (true) {} }, toJSON() { while (true) {} }}", "timeout"),
        ("class A extends Error { get message() { for (;;) {} } } throw new A()", "timeout"),
        ("const a = []; while (true) a.push(new Array(1000).fill(1))", "memory"),
        ("return 'x'.repeat(2 ** 28)", "memory"),
        ("return 'x'.padStart(2 ** 28)", "memory"),
        ("let s = 'x'; for (;;) s += s", "exception"),
        ("return new Uint8Array(2 ** 31)", "exception"),
        ("const f = () => f(); return f()", "exception"),
        ("let a = 1; for (let i = 0; i < 1e5; i++) a = [a]; return a", "exception"),
        ("return Atomics.wait(new Int32Array(new SharedArrayBuffer(8)), 0, 0)", "exception"),
    ],
)
def test_a_program_that_takes_too_much_is_stopped(text: str, kind: str) -> None:
    assert stopped(body(text)) == kind


@pytest.mark.parametrize(
    "trick",
    [
        "JSON.parse = JSON.stringify = null; JSON = null",
        "Object.keys = Array.isArray = Reflect.apply = () => { throw 1 }",
        "Array.prototype.toJSON = Object.prototype.toJSON = () => 5",
        "String.prototype.toJSON = Number.prototype.toJSON = () => 5",
        "Object.defineProperty(Object.prototype, 'skip', {value: true})",
        "Object.defineProperty(Object.prototype, 'payload', {get() { throw 1 }})",
        "Object.defineProperty(Array.prototype, '0', {set() { throw 1 }})",
        "Object.setPrototypeOf(Object.prototype, null)",
        "globalThis.eval = null; globalThis.Promise = undefined",
        "RegExp.prototype.exec = RegExp.prototype.test = null",
        "BigInt.prototype.toJSON = () => 5",
        "console = null",
        "Function.prototype.call = Function.prototype.apply = null",
        "Object.freeze(globalThis)",
    ],
)
def test_to_change_the_language_harms_nobody_else(trick: str) -> None:
    assert body(f"{trick}; return {{headers: {{'x-a': 'b'}}}}").kind in (
        frames.UNTOUCHED,
        frames.ERROR,
    )
    assert beside(body("return {headers: {'x-a': 'b'}}"))["headers"] == {"x-a": "b"}


def test_nothing_is_left_for_the_next_call() -> None:
    source = "var n = 0; function transform() { globalThis.m ??= 0; return [++n, ++m] }"
    assert [run(source).payload for _ in range(3)] == [b"[1,1]"] * 3


@pytest.mark.parametrize(
    "name", ["require", "process", "fetch", "std", "os", "setTimeout", "Deno", "WebAssembly"]
)
def test_there_is_nothing_but_the_language(name: str) -> None:
    assert body(f"return typeof {name}").payload == b'"undefined"'


BIG = b'{"id": 12345678901234567890, "less": -9007199254740993, "n": 9007199254740991, "f": 1e30}'


@pytest.mark.parametrize(
    "text, payload",
    [
        ("return payload.id", b"12345678901234567890"),
        (
            "return {...payload, x: 1}",
            b'{"id":12345678901234567890,"less":-9007199254740993,"n":9007199254740991,"f":1e+30,"x":1}',
        ),
        ("return typeof payload.id + typeof payload.n + typeof payload.f", b'"bigintnumbernumber"'),
        ("return payload.id + 1n", b"12345678901234567891"),
        ("return String(payload.less)", b'"-9007199254740993"'),
    ],
)
def test_an_integer_that_no_number_holds_keeps_its_digits(text: str, payload: bytes) -> None:
    assert body(text, payload=BIG).payload == payload


def test_such_an_integer_is_no_number() -> None:
    assert error(body("return payload.id + 1", payload=BIG))["kind"] == "exception"
    assert body("return payload", payload=BIG).kind == frames.UNTOUCHED


@pytest.mark.parametrize(
    "text, kind, payload",
    [
        ("return payload", frames.UNTOUCHED, b""),
        ("return {headers: {a: 'b'}}", frames.UNTOUCHED, b""),
        ("return payload + '!'", frames.AS_TEXT, "<é/>!".encode()),
        ("return {payload: '\\u0000'}", frames.AS_TEXT, b"\x00"),
        ("return [payload]", frames.PAYLOAD, '["<é/>"]'.encode()),
    ],
)
def test_text_may_stay_text(text: str, kind: bytes, payload: bytes) -> None:
    answer = body(text, payload="<é/>".encode(), flags=frames.TEXT)
    assert (answer.kind, answer.payload) == (kind, payload)


def test_headers_beside_a_text_are_mended_too() -> None:
    text = "return {payload: 'x', headers: {'x-a': '\\udfff'}}"
    answer = body(text, payload=b"y", flags=frames.TEXT)
    assert (answer.kind, beside(answer)) == (frames.AS_TEXT, {"headers": {"x-a": "?"}})


def test_what_is_no_text_is_told_so() -> None:
    answer = body("return 5", payload=b"\xff", flags=frames.TEXT)
    assert error(answer)["message"] == "the payload is neither JSON nor text in UTF-8"
    half = body("return '\\ud800'", payload=b"x", flags=frames.TEXT)
    assert "half a character" in error(half)["message"]


def log_of(answer: Answer) -> list[str]:
    lines: list[str] = beside(answer)["log"]
    return lines


def test_the_log_is_kept_where_it_is_wanted() -> None:
    text = (
        "console.log('a', 1, {b: [2]}, undefined, null, new Error('x')); console.warn(); return 5"
    )
    assert log_of(body(text, flags=frames.LOG)) == ['a 1 {"b":[2]} undefined null Error: x', ""]
    assert "log" not in beside(body(text))


@pytest.mark.parametrize("end", ["throw new Error('x')", "while (true) {}", "return {skip: true}"])
def test_the_log_outlives_the_program(end: str) -> None:
    assert log_of(body(f"console.log('here'); {end}", flags=frames.LOG)) == ["here"]


@pytest.mark.parametrize(
    "text, lines",
    [
        ("for (let i = 0; i < 1e4; i++) console.log(i); return 5", 101),
        ("console.log('x'.repeat(1e6)); return 5", 1),
        ("console.log({toJSON() { throw 1 }}, Symbol(), '\\ud800'); return 5", 1),
        ("Array.prototype.toJSON = () => 5; console.log(1); return 5", 1),
    ],
)
def test_the_log_is_bounded_whatever_is_written(text: str, lines: int) -> None:
    log = log_of(body(text, flags=frames.LOG))
    assert len(log) == lines
    assert all(len(line) <= 1001 for line in log)
    assert "\ud800" not in log[0]


@given(JSON)
def test_any_payload_passes_through(value: Any) -> None:
    payload = json.dumps(value).encode()
    assert body("return payload", payload=payload).kind == frames.UNTOUCHED
    wrapped = body("return [payload]", payload=payload)
    assert json.loads(wrapped.payload) == [value]


@pytest.mark.parametrize("size", [1_000, 100_000, 1_000_000])
def test_large_payloads_pass_through(size: int) -> None:
    payload = json.dumps({"text": "é" * (size // 2)}).encode()
    assert body("return payload", payload=payload).kind == frames.UNTOUCHED
    assert json.loads(body("return [payload]", payload=payload).payload) == [json.loads(payload)]
    text = body("return payload + '!'", payload=payload, flags=frames.TEXT)
    assert text.payload == payload + b"!"


def test_an_engine_may_be_made_ahead() -> None:
    javascript.prepare()
    javascript.prepare()
    assert len(javascript._spare) == 1
    assert body("return 5").payload == b"5"
    assert javascript._spare == []


def test_without_an_engine_it_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(javascript, "AVAILABLE", False)
    assert "can't be run on this machine" in error(body("return 5"))["message"]
