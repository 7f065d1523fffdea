from __future__ import annotations

import contextlib

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from hotserve.platforms.text_format import string_fields
from hotserve.platforms.wire_format import WireError
from hotserve.protos.messages import AssetFileDef, MetaGraphDef, SavedModel


def test_messages_and_strings_come_with_their_path() -> None:
    text = """
    # a comment with { and "
    version: 1
    graph { node { name: "a" op: 'b' size: -1.5e3 } }
    list: [ "x", "y" ]
    other < name: "c" >;
    """
    assert list(string_fields(text)) == [
        (("graph",), ""),
        (("graph", "node"), ""),
        (("graph", "node", "name"), "a"),
        (("graph", "node", "op"), "b"),
        (("list",), "x"),
        (("list",), "y"),
        (("other",), ""),
        (("other", "name"), "c"),
    ]


@given(st.text(max_size=50))
def test_strings_are_read_as_protobuf_writes_them(name: str) -> None:
    model = SavedModel(meta_graphs=[MetaGraphDef(asset_file_def=[AssetFileDef(filename=name)])])
    for as_utf8 in (False, True):
        text = text_format.MessageToString(model, as_utf8=as_utf8)
        found = [value for path, value in string_fields(text) if path[-1] == "filename"]
        assert found == ([name] if name else [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a { b {", "ends inside a.b"),
        ("a { b { } ", "ends inside a"),
        ("a: 'open", "character 3"),
        ('a: "line\nbreak"', "character 3"),
        ("a }", "closes nothing"),
        ("a { b < } >", "closes nothing"),
        ("a: $", "character 3"),
        ("\x00\x00", "character 0"),
    ],
)
def test_what_is_no_text_message_is_refused(text: str, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        list(string_fields(text))


@given(st.text(alphabet="ab{}<>[]:;,\"'\\#\n 01$", max_size=200))
def test_garbage_ends_in_fields_or_in_a_wire_error(text: str) -> None:
    with contextlib.suppress(WireError):
        for path, _ in string_fields(text):
            assert path
