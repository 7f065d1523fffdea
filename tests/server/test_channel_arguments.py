from __future__ import annotations

import logging
import queue
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hotserve.errors import ConfigError
from hotserve.server.channel_arguments import ChannelArguments, read_channel_arguments
from hotserve.wires.grpc_http2 import GrpcLimits
from hotserve.wires.http2_limits import Http2Limits
from support.embedded import accepts_connections, toy_server
from support.in_process import PATIENCE, adder

LARGEST = 1 << 20
PLAIN = GrpcLimits(max_message_bytes=LARGEST)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("", PLAIN),
        ("grpc.max_concurrent_streams=7", replace(PLAIN, http2=Http2Limits(max_concurrent_streams=7))),
        (
            "grpc.max_concurrent_streams=7,grpc.max_concurrent_streams=8",
            replace(PLAIN, http2=Http2Limits(max_concurrent_streams=8)),
        ),
        ("grpc.max_connection_idle_ms=1500", replace(PLAIN, idle_seconds=1.5)),
        ("grpc.max_connection_idle_ms=2147483647", replace(PLAIN, idle_seconds=0.0)),
        ("grpc.server_handshake_timeout_ms=250", replace(PLAIN, handshake_seconds=0.25)),
        (
            "grpc.keepalive_time_ms=10000,grpc.keepalive_timeout_ms=500",
            replace(PLAIN, keepalive_seconds=10.0, keepalive_timeout_seconds=0.5),
        ),
        (
            "grpc.max_metadata_size=65536,grpc.http2.max_frame_size=16384",
            replace(PLAIN, http2=Http2Limits(max_header_list_bytes=65536, max_frame_bytes=16384)),
        ),
    ],
)
def test_what_the_wire_knows_becomes_its_limits(text: str, limits: GrpcLimits) -> None:
    assert read_channel_arguments(text, LARGEST) == ChannelArguments(limits, ())


def test_what_it_does_not_know_is_named_once_in_order() -> None:
    arguments = read_channel_arguments(
        "grpc.so_reuseport=0,grpc.lb_policy_name=x,grpc.so_reuseport=1,mine=text", LARGEST
    )
    assert arguments == ChannelArguments(PLAIN, ("grpc.so_reuseport", "grpc.lb_policy_name", "mine"))


@pytest.mark.parametrize("item", ["grpc.max_concurrent_streams", "=7", "grpc.so_reuseport 0"])
def test_an_item_without_a_name_or_a_value_is_refused(item: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_channel_arguments(f"grpc.so_reuseport=0,{item}", LARGEST)
    assert caught.value.message.startswith(f"--grpc_channel_arguments: {item!r} has no value.")


@pytest.mark.parametrize(
    ("item", "least", "most"),
    [
        ("grpc.max_concurrent_streams=0", 1, 2**31 - 1),
        ("grpc.max_concurrent_streams=many", 1, 2**31 - 1),
        ("grpc.max_concurrent_streams=", 1, 2**31 - 1),
        ("grpc.max_connection_idle_ms=1.5", 1, 2**31 - 1),
        ("grpc.http2.max_frame_size=1000", 2**14, 2**24 - 1),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_range(item: str, least: int, most: int) -> None:
    with pytest.raises(ConfigError) as caught:
        read_channel_arguments(item, LARGEST)
    assert caught.value.message == (
        f"--grpc_channel_arguments: {item}: expected a whole number from {least} to {most}."
    )


def test_a_mistake_is_found_before_anything_is_loaded_and_leaves_no_port_taken() -> None:
    server = toy_server({"m": {1: adder(1)}}, grpc_channel_arguments="grpc.max_concurrent_streams=0")
    with pytest.raises(ConfigError, match="expected a whole number from 1"):
        server.start()
    assert not accepts_connections(server.options.port)


def test_each_argument_without_an_effect_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    arguments = "grpc.so_reuseport=0,grpc.max_concurrent_streams=9,grpc.lb_policy_name=x"
    with caplog.at_level(logging.WARNING, "hotserve"), toy_server({}, grpc_channel_arguments=arguments):
        pass
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "--grpc_channel_arguments: grpc.so_reuseport has no effect here",
        "--grpc_channel_arguments: grpc.lb_policy_name has no effect here",
    ]


def test_an_idle_connection_of_a_client_is_closed_after_the_time_that_was_given() -> None:
    states: queue.Queue[grpc.ChannelConnectivity] = queue.Queue()
    with (
        toy_server({"m": {1: adder(1)}}, grpc_channel_arguments="grpc.max_connection_idle_ms=200") as server,
        grpc.insecure_channel(f"127.0.0.1:{server.options.port}") as channel,
    ):
        channel.subscribe(states.put)
        request = health_pb2.HealthCheckRequest()
        assert health_pb2_grpc.HealthStub(channel).Check(request, timeout=PATIENCE).status == 1
        while states.get(timeout=PATIENCE) is not grpc.ChannelConnectivity.READY:
            pass
        assert states.get(timeout=PATIENCE) is grpc.ChannelConnectivity.IDLE
