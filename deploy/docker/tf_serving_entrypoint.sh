#!/bin/sh
# Starts the server as the entry point of the image tensorflow/serving does. The container's arguments come last: of a
# flag that is given twice the last counts. `exec`, so that the server is process 1 and gets the SIGTERM of a stop.
set -eu

MODEL_NAME=${MODEL_NAME:-model}
MODEL_BASE_PATH=${MODEL_BASE_PATH:-/models}

exec tensorflow_model_server \
    --port=8500 \
    --rest_api_port=8501 \
    --model_name="$MODEL_NAME" \
    --model_base_path="$MODEL_BASE_PATH/$MODEL_NAME" \
    "$@"
