"""The service of the Open Inference Protocol, for servers that are told their services by such a function."""

from __future__ import annotations

from typing import Any

import grpc


def add_to_server(servicer: Any, server: Any) -> None:
    """What generated code has for this: adds `ModelInfer`, whose requests stay bytes.

    Args:
        servicer: Has the method.
        server: A server of grpcio.
    """
    handlers = {"ModelInfer": grpc.unary_unary_rpc_method_handler(servicer.ModelInfer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
