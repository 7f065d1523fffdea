from __future__ import annotations

import pytest

from hotserve.platforms.operation_packages import advice_on, unknown_operation


def test_the_operation_is_read_from_the_words_of_tensorflow() -> None:
    message = (
        "Op type not registered 'TFText>NgramsStringJoin' in binary running on host-1. Make sure the Op and Kernel are"
        " registered in the binary running in this process."
    )
    assert unknown_operation(message) == "TFText>NgramsStringJoin"
    assert unknown_operation("No OpKernel was registered to support Op 'X'") is None


TEXT = "pip install 'tensorflow-text==2.21.*', and start the server with --import=tensorflow_text."
FORESTS = "pip install tensorflow-decision-forests, and start the server with --import=tensorflow_decision_forests."


@pytest.mark.parametrize(
    ("operation", "advice"),
    [
        ("TFText>FastSentencepieceTokenize", TEXT),
        ("SentencepieceOp", TEXT),
        ("SentencepieceTokenizeWithOffsetsOp", TEXT),
        ("CaseFoldUTF8", TEXT),
        ("NormalizeUTF8WithOffsetsMap", TEXT),
        ("WhitespaceTokenizeWithOffsets", TEXT),
        ("SentenceFragmentsV2", TEXT),
        ("SimpleMLInferenceOpWithHandle", FORESTS),
        ("Addons>EuclideanDistanceTransform", "--import=tensorflow_addons."),
        ("IO>DecodeAvro", "--import=tensorflow_io."),
        ("SentencepieceEncodeSparse", "--import=tf_sentencepiece."),
    ],
)
def test_an_operation_of_a_known_package_names_it(operation: str, advice: str) -> None:
    text = advice_on(operation, "2.21.0")
    assert text.startswith(f"{operation} is an operation of ")
    assert text.endswith(advice)


def test_an_operation_of_no_known_package_names_the_flags() -> None:
    text = advice_on("Zeropad2D", "2.21.0")
    assert text.startswith("Zeropad2D is no operation of TensorFlow 2.21.0.")
    assert "--custom_op_libraries=FILE.so" in text
    assert "--import=PACKAGE" in text
