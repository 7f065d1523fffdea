"""Products and decompositions of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from support.saved_model_zoo.building import constant, function_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input

_SQUARE = Input((None, 3, 3))


def _products(a: Any, b: Any) -> dict[str, Any]:
    return {
        "plain": a @ b,
        "transposed": tf.matmul(a, b, transpose_a=True),
        "both": tf.matmul(a, b, transpose_a=True, transpose_b=True),
        "outer": tf.tensordot(a, constant(3, 4), 1),
    }


def _einsums(a: Any, b: Any) -> dict[str, Any]:
    return {
        "batch": tf.einsum("bij,bjk->bik", a, b),
        "trace": tf.einsum("bii->b", a),
        "scores": tf.einsum("bij,bkj->bik", a, b),
        "broadcast": tf.einsum("...ij,jk->...ik", a, constant(3, 2)),
        "all": tf.einsum("bij,bij->", a, b),
    }


def _positive(a: Any) -> Any:
    return tf.matmul(a, a, transpose_b=True) + 3.0 * tf.eye(3)


def _solved(a: Any) -> dict[str, Any]:
    matrix = _positive(a)
    return {
        "inverse": tf.linalg.inv(matrix),
        "determinant": tf.linalg.det(matrix),
        "cholesky": tf.linalg.cholesky(matrix),
        "solution": tf.linalg.solve(matrix, a),
        "triangular": tf.linalg.triangular_solve(matrix, a),
    }


def _decomposed(a: Any) -> dict[str, Any]:
    matrix = _positive(a)
    return {
        "singular": tf.linalg.svd(matrix, compute_uv=False),
        "eigenvalues": tf.linalg.eigvalsh(matrix),
        "exponential": tf.linalg.expm(matrix * 0.01),
        "log_determinant": tf.linalg.logdet(matrix),
    }


def _parts(a: Any) -> dict[str, Any]:
    return {
        "lower": tf.linalg.band_part(a, -1, 0),
        "diagonal": tf.linalg.diag_part(a),
        "made": tf.linalg.diag(tf.linalg.diag_part(a)),
        "set": tf.linalg.set_diag(a, tf.zeros_like(a[:, 0])),
        "trace": tf.linalg.trace(a),
        "adjoint": tf.linalg.adjoint(a),
        "cross": tf.linalg.cross(a, a + 1.0),
    }


ENTRIES: Sequence[Entry] = (
    function_entry("matrix_products", _products, {"a": _SQUARE, "b": _SQUARE}),
    function_entry("matrix_einsums", _einsums, {"a": _SQUARE, "b": _SQUARE}),
    function_entry("matrix_solved", _solved, {"a": _SQUARE}),
    function_entry("matrix_decomposed", _decomposed, {"a": _SQUARE}),
    function_entry("matrix_parts", _parts, {"a": _SQUARE}),
)
