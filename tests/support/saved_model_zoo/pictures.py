"""Operations on pictures that are no layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from support.saved_model_zoo.building import constant, function_entry
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import Input

_PICTURE = Input((None, 6, 8, 3), "float32", 0, 1)


def _resized(x: Any) -> dict[str, Any]:
    methods = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "gaussian", "mitchellcubic")
    return {method: tf.image.resize(x, (9, 5), method) for method in methods}


def _resized_old(x: Any) -> dict[str, Any]:
    old = tf.compat.v1.image
    return {
        "bilinear": old.resize_bilinear(x, (9, 5)),
        "aligned": old.resize_bilinear(x, (9, 5), align_corners=True),
        "nearest": old.resize_nearest_neighbor(x, (9, 5)),
        "nearest_aligned": old.resize_nearest_neighbor(x, (9, 5), align_corners=True),
        "bicubic": old.resize_bicubic(x, (9, 5)),
    }


def _coloured(x: Any) -> dict[str, Any]:
    return {
        "grey": tf.image.rgb_to_grayscale(x),
        "hsv": tf.image.rgb_to_hsv(x),
        "hue": tf.image.adjust_hue(x, 0.2),
        "contrast": tf.image.adjust_contrast(x, 1.5),
        "brightness": tf.image.adjust_brightness(x, 0.1),
        "standardised": tf.image.per_image_standardization(x),
    }


def _turned(x: Any) -> dict[str, Any]:
    return {
        "mirrored": tf.image.flip_left_right(x),
        "turned": tf.image.rot90(x),
        "padded": tf.image.resize_with_crop_or_pad(x, 7, 7),
        "part": tf.image.central_crop(x, 0.5),
        "edges": tf.image.sobel_edges(x),
    }


def _blocks(x: Any) -> dict[str, Any]:
    return {
        "deep": tf.nn.space_to_depth(x, 2),
        "flat": tf.nn.depth_to_space(tf.tile(x, [1, 1, 1, 4]), 2),
        "batch": tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]),
        "patches": tf.image.extract_patches(x, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
    }


def _filtered(x: Any) -> dict[str, Any]:
    return {
        "eroded": tf.nn.erosion2d(x, tf.abs(constant(2, 2, 3)), [1] * 4, "SAME", "NHWC", [1] * 4),
        "local": tf.nn.local_response_normalization(x, 2, 1.0, 0.5),
        "places": tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")[1],
    }


def _cut_out(x: Any, boxes: Any) -> Any:
    return tf.image.crop_and_resize(x, boxes, tf.zeros(tf.shape(boxes)[:1], tf.int32), (3, 4))


def _suppressed(boxes: Any, scores: Any) -> dict[str, Any]:
    chosen = tf.image.non_max_suppression(boxes, scores, 3, 0.5)
    return {"chosen": chosen, "boxes": tf.gather(boxes, chosen)}


ENTRIES: Sequence[Entry] = (
    function_entry("picture_sizes", _resized, {"x": _PICTURE}),
    function_entry("picture_sizes_of_tensorflow_1", _resized_old, {"x": _PICTURE}),
    function_entry("picture_colours", _coloured, {"x": _PICTURE}),
    function_entry("picture_turned", _turned, {"x": _PICTURE}),
    function_entry("picture_blocks", _blocks, {"x": _PICTURE}),
    function_entry("picture_filters", _filtered, {"x": _PICTURE}),
    function_entry("picture_cut_out", _cut_out, {"x": _PICTURE, "boxes": Input((2, 4), "float32", 0, 1)}),
    function_entry(
        "picture_boxes", _suppressed, {"boxes": Input((None, 4), "float32", 0, 1), "scores": Input((None,))}
    ),
    function_entry(
        "picture_of_bytes",
        lambda x: tf.cast(x, tf.float32) / 255.0 - 0.5,
        {"x": Input((None, 4, 4, 3), "uint8", 0, 256)},
    ),
)
