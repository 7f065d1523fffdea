"""Sends four handwritten digits to the model server over REST, and shows what it makes of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import requests
from digits import TIMEOUT_S, TutorialError, checked, four_digits, pixels, show
from numpy.typing import NDArray


def predict(url: str, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Asks the server at `url` for [n, 10] probabilities of [n, 28, 28] images.

    Raises:
        TutorialError: No server answers, it does not know the model, or it refuses.
    """
    try:
        response = requests.post(url, json={"instances": pixels(images).tolist()}, timeout=TIMEOUT_S)
    except requests.ConnectionError as error:
        raise TutorialError(
            f"expected a model server at {url}, but nothing answers there. Start one, in another terminal:\n"
            "  hotserve serve --model_name=img_classifier --model_base_path=./img_classifier\n"
            "or say where it is: --host, --port or --url"
        ) from error
    except requests.Timeout as error:
        raise TutorialError(f"no answer from {url} in {TIMEOUT_S:.0f} s: look at the server's log") from error
    except (
        requests.exceptions.InvalidURL,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
    ) as error:
        raise TutorialError(f"expected a URL like http://localhost:8501/v1/models/NAME:predict, got {url}") from error
    if response.status_code == requests.codes.not_found:
        raise TutorialError(
            f"the server has no such model, or none of its versions is ready ({_error_text(response)}). Compare "
            f"--model_name with the name that the server was started with, and look at its state:\n"
            f"  curl {url.removesuffix(':predict')}"
        )
    if not response.ok:
        raise TutorialError(f"the server answered {response.status_code}: {_error_text(response)}")
    return checked(_body(response).get("predictions"), len(images))


def _error_text(response: requests.Response) -> str:
    return str(_body(response).get("error", response.text[:500]))


def _body(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="localhost", help="where the server is (localhost)")
    parser.add_argument("--port", type=int, default=8501, help="the port of its REST API (8501)")
    parser.add_argument("--model_name", default="img_classifier", help="the model to ask (img_classifier)")
    parser.add_argument("--url", help="the whole address, in place of these three")
    parser.add_argument("--data", type=Path, help="a mnist.npz whose first four test images are sent")
    args = parser.parse_args()

    try:
        digits = four_digits(args.data)
        url = args.url or f"http://{args.host}:{args.port}/v1/models/{args.model_name}:predict"
        show(digits, predict(url, digits.images))
    except TutorialError as error:
        raise SystemExit(f"predict.py: {error}") from error


if __name__ == "__main__":
    main()
