"""What a SavedModel says of its own session: `assets.extra/saved_model_config.pb`.

Source: tensorflow_serving/servables/tensorflow/saved_model_config.proto and saved_model_config_util.cc.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from hotserve.protos.messages import ConfigProto, SavedModelConfig

logger = logging.getLogger(__name__)

CONFIG_FILE: Final = Path("assets.extra", "saved_model_config.pb")
"""Where it is, within a version folder."""


def apply_saved_model_config(path: Path, config: ConfigProto) -> None:
    """Changes the options of a session as the version asks for, if it does.

    Of the file, `session_overrides.disable_meta_optimizer` has an effect. A file that cannot be read is passed over
    with a warning, as in the original.

    Args:
        path: The version folder.
        config: The options; changed.
    """
    file = path / CONFIG_FILE
    try:
        asked = SavedModelConfig.FromString(file.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, DecodeError) as error:
        logger.warning("Failed to load saved model config: %s: %s. The version loads without it.", file, error)
        return
    overrides = asked.session_overrides
    if asked.HasField("session_overrides"):
        config.graph_options.rewrite_options.disable_meta_optimizer = overrides.disable_meta_optimizer
    without_effect = [
        name for name in ("remote_op_remap_config", "batch_op_rewriter_config") if overrides.HasField(name)
    ]
    without_effect += [name for name in ("tfrt_runtime_config", "critical") if getattr(asked, name)]
    if without_effect:
        logger.warning(
            "%s: %s has no effect here: TensorFlow's Python package has no such optimizer or runtime",
            file,
            ", ".join(without_effect),
        )
