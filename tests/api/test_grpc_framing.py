from __future__ import annotations

import asyncio
import gzip
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import unquote, unquote_to_bytes

import grpc
import h2corn
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hotserve.api.asgi import Message, Receive, Send
from hotserve.api.compression import UnpacksTooLarge
from hotserve.api.grpc_framing import COMPRESS_FROM_BYTES, Frames, frame, parse_timeout, too_large, trailers_of, unframe
from hotserve.errors import Code, InvalidArgument, NotFound, ResourceExhausted, ServingError, Unimplemented

ENOUGH = 1 << 20
SECONDS_OF = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}


# Deadlines.


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1H", 3600.0),
        ("2M", 120.0),
        ("30S", 30.0),
        ("250m", 0.25),
        ("5u", 5e-6),
        ("7n", 7e-9),
        ("0S", 0.0),
        ("00000001S", 1.0),
        ("99999999H", 99999999 * 3600.0),
    ],
)
def test_a_timeout_is_read_in_its_unit(header: str, seconds: float) -> None:
    assert parse_timeout(header) == pytest.approx(seconds)


def test_a_call_without_a_timeout_has_none() -> None:
    assert parse_timeout(None) is None


@given(st.integers(0, 99_999_999), st.sampled_from(sorted(SECONDS_OF)))
def test_every_timeout_of_the_specification_is_read(number: int, unit: str) -> None:
    assert parse_timeout(f"{number}{unit}") == pytest.approx(number * SECONDS_OF[unit])


@given(st.text(max_size=12))
@example("")
@example("5")
@example("S")
@example("5s")
@example("-5S")
@example("+5S")
@example("5 S")
@example("5S ")
@example("5S\n")
@example("1.5S")
@example("123456789S")
@example("٥S")
@example("5SS")
def test_anything_else_is_refused_with_what_is_expected(header: str) -> None:
    digits, unit = header[:-1], header[-1:]
    assume(not (unit in SECONDS_OF and 1 <= len(digits) <= 8 and set(digits) <= set(string.digits)))
    with pytest.raises(InvalidArgument, match="expected up to 8 digits and one of H, M, S, m, u, n") as caught:
        parse_timeout(header)
    assert repr(header) in caught.value.message


# Messages.


@given(st.binary(max_size=5000), st.booleans())
def test_a_framed_message_is_unframed_again(message: bytes, pack: bool) -> None:
    assert unframe(frame(message, pack=pack), "gzip", ENOUGH) == message


@given(st.binary(max_size=5000))
def test_a_frame_is_a_flag_a_length_and_the_message(message: bytes) -> None:
    framed = frame(message, pack=False)
    assert framed == b"\0" + len(message).to_bytes(4, "big") + message


@pytest.mark.parametrize("size", [0, COMPRESS_FROM_BYTES - 1])
def test_a_short_message_is_not_worth_packing(size: int) -> None:
    assert frame(b"x" * size, pack=True) == frame(b"x" * size, pack=False)


def test_a_long_message_is_packed_for_a_client_that_packs() -> None:
    message = b"x" * COMPRESS_FROM_BYTES
    framed = frame(message, pack=True)
    assert framed[0] == 1
    assert int.from_bytes(framed[1:5], "big") == len(framed) - 5
    assert gzip.decompress(framed[5:]) == message


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Expected one gRPC message, which has at least 5 bytes; got 0."),
        (b"\0\0\0\0", "Expected one gRPC message, which has at least 5 bytes; got 4."),
        (b"\0\0\0\0\1", "Expected one gRPC message of 1 bytes, as its prefix says; got 0."),
        (b"\0\0\0\0\0x", "Expected one gRPC message of 0 bytes, as its prefix says; got 1."),
        (frame(b"one", pack=False) * 2, "Expected one gRPC message of 3 bytes, as its prefix says; got 11."),
        (b"\0\xff\xff\xff\xffx", "Expected one gRPC message of 4294967295 bytes, as its prefix says; got 1."),
        (b"\2\0\0\0\0", "Expected 0 or 1 as the first byte of a gRPC message; got 2."),
        (b"\xff\0\0\0\0", "Expected 0 or 1 as the first byte of a gRPC message; got 255."),
        (b"\1\0\0\0\1x", "It cannot be unpacked as gzip: it ends before its last block."),
        (b"\1\0\0\0\2xx", "It cannot be unpacked as gzip: "),
    ],
)
def test_what_is_not_exactly_one_message_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        unframe(body, "gzip", ENOUGH)
    assert caught.value.message.startswith(text)


@pytest.mark.parametrize("encoding", ["identity", "deflate", "snappy", ""])
def test_a_packing_that_is_not_known_is_unimplemented_and_the_answer_lists_those_that_are(encoding: str) -> None:
    with pytest.raises(Unimplemented, match="supported: identity, gzip") as caught:
        unframe(b"\1\0\0\0\0", encoding, ENOUGH)
    assert repr(encoding) in caught.value.message


def test_a_message_that_is_not_packed_may_name_any_packing() -> None:
    assert unframe(frame(b"one", pack=False), "snappy", ENOUGH) == b"one"


def test_the_limit_holds_for_a_message_and_for_what_it_unpacks_to() -> None:
    assert unframe(frame(b"x" * 10, pack=False), "identity", 10) == b"x" * 10
    with pytest.raises(ResourceExhausted, match=r"larger than max \(11 vs\. 10\).*--max_message_bytes"):
        unframe(frame(b"x" * 11, pack=False), "identity", 10)
    with pytest.raises(UnpacksTooLarge, match="more than 5000 bytes"):
        unframe(frame(b"x" * 5001, pack=True), "gzip", 5000)
    assert too_large(11, 10).code is Code.RESOURCE_EXHAUSTED


# Statuses.


def test_a_call_that_ended_well_has_no_message() -> None:
    assert trailers_of(None) == [(b"grpc-status", b"0")]


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_the_status_is_the_number_of_the_code(code: Code) -> None:
    assert trailers_of(ServingError("x", code)) == [(b"grpc-status", b"%d" % code), (b"grpc-message", b"x")]


def message_of(error: ServingError) -> str:
    (_, (name, value)) = trailers_of(error)
    assert name == b"grpc-message"
    return value.decode("ascii")


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("plain text, with {all} of [it]!", "plain text, with {all} of [it]!"),
        ("100%", "100%25"),
        ("a\nb\tc\0d", "a%0Ab%09c%00d"),
        ("größer", "gr%C3%B6%C3%9Fer"),
        ("≤ 😀", "%E2%89%A4 %F0%9F%98%80"),
        ("ends in a blank ", "ends in a blank%20"),
        ("two blanks  ", "two blanks %20"),
        (" begins with one", "%20begins with one"),
        (" ", "%20"),
        ("", ""),
        ("\x7f", "%7F"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
    ],
)
def test_a_message_is_percent_encoded(text: str, encoded: str) -> None:
    assert message_of(NotFound(text)) == encoded


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=400)


@given(TEXTS)
def test_a_message_survives_a_decoder(text: str) -> None:
    assume(len(text.encode()) <= 1024)
    assert unquote(message_of(NotFound(text)), errors="strict") == text


@given(TEXTS)
def test_a_message_is_a_legal_field_value(text: str) -> None:
    encoded = message_of(NotFound(text))
    assert all(" " <= character <= "~" for character in encoded)
    assert encoded == encoded.strip(" ")


def test_a_message_of_1024_bytes_is_sent_whole() -> None:
    assert message_of(NotFound("x" * 1024)) == "x" * 1024


def test_a_longer_message_is_cut_as_in_the_original() -> None:
    assert message_of(NotFound("x" * 1025)) == "x" * 1024 + "...TRUNCATED"


@pytest.mark.parametrize("character", ["ö", "≤", "😀"])
@pytest.mark.parametrize("before", range(4))
def test_a_message_is_cut_between_characters(character: str, before: int) -> None:
    text = "x" * before + character * 1024
    decoded = unquote_to_bytes(message_of(NotFound(text))).decode("utf-8", "strict")
    kept = decoded.removesuffix("...TRUNCATED")
    assert text.startswith(kept)
    assert 1024 - len(character.encode()) < len(kept.encode()) <= 1024


# What a real client makes of them.


@contextmanager
def refusing_server(text: str) -> Iterator[str]:
    """A gRPC server that answers every call with NOT_FOUND and `text`; gives its address."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/grpc")]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        await send({"type": "http.response.trailers", "headers": trailers_of(NotFound(text)), "more_trailers": False})

    loop = asyncio.new_event_loop()
    server = h2corn.Server(app, h2corn.Config(bind=("127.0.0.1:0",), grpc=True, access_log=False, lifespan="off"))
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(loop.run_until_complete, server.serve())
        asyncio.run_coroutine_threadsafe(server.wait_started(), loop).result(30)
        try:
            yield server.addresses[0].removeprefix("http://")
        finally:
            server.shutdown()
            serving.result(30)
            loop.close()


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("größer ≤ 😀, 100%\nnext line", "größer ≤ 😀, 100%\nnext line"),
        ("blanks at both ends ", "blanks at both ends "),
        (" ", " "),
        ("x" * 2000, "x" * 1024 + "...TRUNCATED"),
        ("ö" * 2000, "ö" * 512 + "...TRUNCATED"),
        ("x" + "ö" * 2000, "x" + "ö" * 511 + "...TRUNCATED"),
    ],
)
def test_grpcio_reads_the_message_that_was_sent(text: str, details: str) -> None:
    with (
        refusing_server(text) as address,
        grpc.insecure_channel(address) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary("/any.Service/Method")(b"", timeout=30)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == details


@given(
    st.lists(st.tuples(st.binary(max_size=2 * COMPRESS_FROM_BYTES), st.booleans()), max_size=5),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_a_stream_is_taken_apart_into_its_messages_wherever_it_is_cut(
    sent: list[tuple[bytes, bool]], sizes: list[int]
) -> None:
    body = b"".join(frame(message, pack=pack) for message, pack in sent)
    frames = Frames("gzip", ENOUGH)
    taken: list[bytes] = []
    while body:
        for size in sizes:
            taken.extend(frames.feed(body[:size]))
            body = body[size:]
    frames.finish()
    assert taken == [message for message, _ in sent]


@given(st.binary(max_size=100), st.data())
def test_a_stream_that_ends_within_a_message_is_refused(message: bytes, data: st.DataObject) -> None:
    body = frame(message, pack=False)
    cut = data.draw(st.integers(1, len(body) - 1))
    frames = Frames("identity", ENOUGH)
    assert list(frames.feed(body[:cut])) == []
    with pytest.raises(InvalidArgument, match=f"The last gRPC message is cut off: {cut} bytes of it came"):
        frames.finish()
