"""Models with operations that TensorFlow lacks, and a library with one, made in the test."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path
from typing import Any

from hotserve.platforms.tensorflow_c_api import find_library

PLUS_ONE = "HotservePlusOne"

# With the C API: its headers compile in a moment, those of the C++ API take a minute.
_SOURCE = r"""
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_tensor.h"

extern "C" const char* TF_Version(void);

static void compute(void* kernel, TF_OpKernelContext* context) {
  TF_Status* status = TF_NewStatus();
  TF_Tensor* x = nullptr;
  TF_GetInput(context, 0, &x, status);
  int64_t dims[8];
  for (int axis = 0; axis < TF_NumDims(x); ++axis) dims[axis] = TF_Dim(x, axis);
  TF_Tensor* y = TF_AllocateOutput(context, 0, TF_FLOAT, dims, TF_NumDims(x), TF_TensorByteSize(x), status);
  const float* from = (const float*)TF_TensorData(x);
  float* to = (float*)TF_TensorData(y);
  for (int64_t i = 0; i < TF_TensorElementCount(x); ++i) to[i] = from[i] + 1;
  TF_DeleteTensor(x);
  TF_DeleteTensor(y);
  TF_DeleteStatus(status);
}

__attribute__((constructor)) static void hotserve_register(void) {
  TF_Status* status = TF_NewStatus();
  MORE;
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder("NAME");
  TF_OpDefinitionBuilderAddInput(op, "x: float");
  TF_OpDefinitionBuilderAddOutput(op, "y: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, &TF_ShapeInferenceContextSetUnknownShape);
  TF_RegisterOpDefinition(op, status);
  TF_RegisterKernelBuilder("NAME", TF_NewKernelBuilder("NAME", "CPU", nullptr, &compute, nullptr), status);
  TF_DeleteStatus(status);
}
"""


def compile_plus_one(library: Path, name: str = PLUS_ONE, *, uses_more: bool = False) -> Path:
    """Compiles a library with the operation x -> x + 1 for floats.

    Args:
        library: Where to write it.
        name: What the operation is called.
        uses_more: Whether it uses a function that is not in the library that it names as needed.
    """
    package = find_library().parent
    framework = next(package.glob("libtensorflow_framework.*"))
    library.parent.mkdir(parents=True, exist_ok=True)
    source = library.with_suffix(".cc")
    source.write_text(_SOURCE.replace("NAME", name).replace("MORE", "TF_Version()" if uses_more else ""))
    command = ["g++", "-shared", "-fPIC", f"-I{package / 'include'}", str(source), str(framework), "-o", str(library)]
    subprocess.run(command, check=True)
    source.unlink()
    return library


def write_model(tf: Any, folder: Path, operation: str, dtype: str) -> Path:
    """Writes a SavedModel whose one operation takes `x` and gives `y`, whether or not it is known here.

    Args:
        tf: TensorFlow.
        folder: The version folder.
        operation: The name of an operation with one input and one output.
        dtype: The type of both.
    """
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(dtype, [None], name="x")
        y = tf.identity(x, name="y")
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": signature})
        builder.save()
    file = folder / "saved_model.pb"
    saved = importlib.import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel()
    saved.ParseFromString(file.read_bytes())
    (node,) = [node for node in saved.meta_graphs[0].graph_def.node if node.name == "y"]
    node.op = operation
    node.attr.clear()
    file.write_bytes(saved.SerializeToString())
    return folder
