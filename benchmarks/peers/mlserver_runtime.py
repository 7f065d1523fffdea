"""ONNX Runtime as a custom runtime of MLServer, for the Open Inference Protocol over REST and gRPC.

`model-settings.json` names it as its `implementation`; `mlserver start FOLDER` serves it.
"""

from __future__ import annotations

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse
from served_model import ServedModel


class OnnxRuntime(MLModel):
    """Decodes and encodes with MLServer's own codec for numpy."""

    async def load(self) -> bool:
        self._model = ServedModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inputs = {part.name: self.decode(part, default_codec=NumpyCodec) for part in payload.inputs}
        try:
            output = self._model.run(inputs)
        except (ValueError, onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument) as error:
            raise InferenceError(f"expected the inputs {list(self._model.ranks)}: {error}") from error
        encoded = NumpyCodec.encode_output("output", output)
        # The codec makes a column of what has one dimension.
        encoded.shape = list(output.shape)
        return InferenceResponse(model_name=self.name, outputs=[encoded])
