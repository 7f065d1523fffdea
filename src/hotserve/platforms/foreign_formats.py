"""Files of other frameworks that no platform serves, and how their models are exported for one that does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

_PICKLES = "a pickled Python object: convert a model of scikit-learn with skl2onnx"
_PYTORCH = "PyTorch's: export the model with torch.onnx.export"
_XGBOOST = "XGBoost's: convert the model with onnxmltools.convert_xgboost"

_EXPORTS = {
    ".keras": "Keras's: write a SavedModel with model.export(FOLDER)",
    ".h5": "Keras's: load it with keras.models.load_model, and write a SavedModel with model.export(FOLDER)",
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".pt2": _PYTORCH,
    ".safetensors": "of weights alone: load them in their framework, and export the model from there",
    ".pkl": _PICKLES,
    ".pickle": _PICKLES,
    ".joblib": _PICKLES,
    ".ubj": _XGBOOST,
    ".bst": _XGBOOST,
    ".cbm": 'CatBoost\'s: write it with model.save_model("model.onnx", format="onnx")',
    ".zip": "an archive: unpack it",
    ".tar": "an archive: unpack it",
    ".gz": "packed: unpack it",
    ".tgz": "an archive: unpack it",
    ".mar": "an archive of TorchServe: export the model in it with torch.onnx.export",
}


def export_advice(names: Iterable[str]) -> str:
    """How to get a model that can be served from files of which some are another framework's.

    Args:
        names: The files of a version folder.

    Returns:
        A sentence; empty if none of the files is known.
    """
    for name in sorted(names):
        advice = _EXPORTS.get(PurePath(name).suffix.lower())
        if advice is not None:
            return f"{name} is {advice}."
    return ""
