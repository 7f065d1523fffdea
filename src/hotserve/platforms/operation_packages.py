"""Which Python packages bring operations that TensorFlow lacks: for the error of a graph that needs one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_UNKNOWN = re.compile(r"Op type not registered '([^']+)'")


@dataclass(frozen=True, slots=True)
class _Package:
    """A package with operations.

    Attributes:
        title: What people call it.
        distribution: Its name for pip.
        module: Its name for `--import`.
        operations: Matches the names of its operations.
        follows_tensorflow: Whether its releases are numbered after those of TensorFlow that they are made for.
    """

    title: str
    distribution: str
    module: str
    operations: re.Pattern[str]
    follows_tensorflow: bool = False


_PACKAGES: Final = (
    _Package(
        "TensorFlow Text",
        "tensorflow-text",
        "tensorflow_text",
        re.compile(
            r"TFText>.*|Sentencepiece(Detokenize|IdToString|StringToId|Tokenize|TokenizeWithOffsets|VocabSize)?Op"
            r"|(CaseFold|Normalize)UTF8.*|ConstrainedSequence|FastBertNormalize|FindSourceOffsets|MaxSpanningTree"
            r"|(FastWordpiece|SplitMerge|UnicodeScript|Whitespace|Wordpiece)TokenizeWithOffsets.*|PhraseTokenize"
            r"|RegexSplitWithOffsets|RougeL|SentenceFragments.*|TokenizerFromLogits"
        ),
        follows_tensorflow=True,
    ),
    _Package(
        "TensorFlow Decision Forests",
        "tensorflow-decision-forests",
        "tensorflow_decision_forests",
        re.compile(r"SimpleML.*"),
    ),
    _Package("TensorFlow Addons", "tensorflow-addons", "tensorflow_addons", re.compile(r"Addons>.*")),
    _Package("TensorFlow I/O", "tensorflow-io", "tensorflow_io", re.compile(r"IO>.*")),
    _Package(
        "TensorFlow Recommenders Addons",
        "tensorflow-recommenders-addons",
        "tensorflow_recommenders_addons",
        re.compile(r"TFRA>.*"),
    ),
    _Package("TensorFlow Quantum", "tensorflow-quantum", "tensorflow_quantum", re.compile(r"Tfq.*")),
    _Package("ScaNN", "scann", "scann", re.compile(r"Scann>.*")),
    _Package(
        "SentencePiece for TensorFlow 1",
        "tf-sentencepiece",
        "tf_sentencepiece",
        re.compile(r"Sentencepiece(Encode|Decode|GetPiece|ConvertPiece).*"),
    ),
)


def unknown_operation(message: str) -> str | None:
    """The operation that TensorFlow does not know, by its error's words; None for another error."""
    found = _UNKNOWN.search(message)
    return found.group(1) if found else None


def advice_on(operation: str, tensorflow_version: str) -> str:
    """What to do about an operation that TensorFlow does not know, in sentences for the user.

    Args:
        operation: Its name.
        tensorflow_version: The version of TensorFlow that does not know it, such as `2.21.0`.
    """
    for package in _PACKAGES:
        if package.operations.fullmatch(operation):
            wanted = package.distribution
            if package.follows_tensorflow:
                wanted = f"'{wanted}=={'.'.join(tensorflow_version.split('.')[:2])}.*'"
            return (
                f"{operation} is an operation of {package.title}. Install it with pip install {wanted}, and start the"
                f" server with --import={package.module}."
            )
    return (
        f"{operation} is no operation of TensorFlow {tensorflow_version}. If it comes with a library of your own, start"
        " the server with --custom_op_libraries=FILE.so; if with a Python package, with --import=PACKAGE. If it is one"
        " of a later TensorFlow, install that."
    )
