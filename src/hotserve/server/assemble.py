"""Hands the parts to each other; nothing runs yet."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from hotserve.api.codec_threads import CodecThreads
from hotserve.api.cors import CorsPolicy, any_origin, listed_origins, no_cors
from hotserve.api.grpc_reload import GrpcReload
from hotserve.api.grpc_services import GrpcServices, Unary
from hotserve.api.health_service import HealthService
from hotserve.api.rest import RestApi
from hotserve.batching.lane import QueueBounds
from hotserve.batching.plans import BatchPlans, VersionPlan
from hotserve.batching.samples import Samples
from hotserve.batching.scheduler import EngineThreads
from hotserve.codecs.compiled import describe_codec
from hotserve.config.batching_config import BatchingSetup, batching_setup, describe, read_version_options
from hotserve.config.cors_origins import parse_origins
from hotserve.config.model_config import ModelConfig, local_path, read_model_config
from hotserve.config.monitoring_config import metrics_path
from hotserve.config.options import ServerOptions
from hotserve.config.reload import read_reloaded_config
from hotserve.config.session_config import loader_options, log_unused_config, session_bundle_config, warmup_iterations
from hotserve.core.ids import ServableId
from hotserve.core.labels import Labels
from hotserve.core.loader import Loader
from hotserve.core.manager import Manager
from hotserve.core.served_versions import ServedVersions
from hotserve.core.source import AspiredTarget
from hotserve.core.transition_policy import TRANSITION_POLICIES
from hotserve.errors import ConfigError
from hotserve.handlers.batch_planning import ConfiguredPlanning, NaturalPlanning, PlannedWarmUp
from hotserve.handlers.batch_warmup import BatchSizesWarmUp
from hotserve.handlers.config_file import ConfigFile
from hotserve.handlers.health import Health
from hotserve.handlers.predict import Predict
from hotserve.handlers.recorded_request import RecordedRequests
from hotserve.handlers.recorded_warmup import RecordedWarmUp
from hotserve.handlers.reload_config import ConfigReloader
from hotserve.observability.instruments import Instrument
from hotserve.observability.life_metrics import LifeMetrics
from hotserve.observability.metrics import Metrics
from hotserve.observability.model_gauges import ModelGauges
from hotserve.observability.process_metrics import ProcessMetrics
from hotserve.observability.request_log import RequestLog, RequestLogConfig, SampledRequestLog
from hotserve.platforms.by_content import ByContentLoader, WarmUp, check_platform, preferred_platform
from hotserve.platforms.operation_libraries import load_operations
from hotserve.platforms.registry import missing_parts
from hotserve.platforms.warmup import no_warm_up, warm_up_with_made_up_inputs
from hotserve.processors import usable_cpus
from hotserve.protos.messages import SessionBundleConfig
from hotserve.server.engine_metrics import EngineMetrics
from hotserve.server.engine_room import EngineRoomOnDemand
from hotserve.sources.config_watch import ConfigWatch
from hotserve.sources.folder import WatchedModel
from hotserve.sources.local import LocalStorage
from hotserve.sources.poller import Poller

logger = logging.getLogger(__name__)


class SourceThread(Protocol):
    """A source with a life of its own."""

    @property
    def problems(self) -> Mapping[str, str]:
        """Model name -> why its storage cannot be used just now."""
        ...

    @property
    def last_looks(self) -> Mapping[str, float]:
        """Model name -> when its storage was last read, in seconds since the epoch; not of those that never were."""
        ...

    def start(self) -> None:
        """Begins to tell the target what is aspired."""
        ...

    def wait_first_look(self, timeout_seconds: float) -> bool:
        """Waits until every model of the last list has been looked at once; returns whether that was so in time."""
        ...

    def set_models(self, models: Sequence[WatchedModel]) -> None:
        """Finds versions of these models from now on, and aspires none of any other; returns before it has looked."""
        ...

    def stop(self) -> None:
        """Ends it."""
        ...


SourceFactory = Callable[[AspiredTarget, Sequence[ModelConfig]], SourceThread]
LoaderFactory = Callable[[ModelConfig], Loader]
EngineOptions = Callable[[ModelConfig], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Parts:
    """A server, taken apart."""

    models: tuple[ModelConfig, ...]
    manager: Manager
    source: SourceThread
    config_watch: ConfigWatch
    engine: EngineThreads
    engine_room: EngineRoomOnDemand
    health: Health
    health_service: HealthService
    metrics: Metrics
    request_log: RequestLog
    rest: RestApi
    grpc: GrpcServices


def configured_models(options: ServerOptions) -> tuple[ModelConfig, ...]:
    """The models that the options name, by a config file or by a base path.

    Raises:
        ConfigError: They name none, or the config file is wrong.
    """
    if options.model_config_file:
        return read_model_config(Path(options.model_config_file))
    if not options.model_base_path:
        raise ConfigError(
            "Both server_options.model_base_path and server_options.model_config_file are empty! Name a model:"
            " --model_base_path=PATH (and --model_name=NAME), or several: --model_config_file=FILE."
        )
    if not options.model_name:
        raise ConfigError("--model_name is empty. Expected the name under which clients reach the model.")
    base_path = local_path(options.model_name, options.model_base_path)
    return (ModelConfig(name=options.model_name, base_path=base_path.absolute()),)


def polled_folders(options: ServerOptions) -> SourceFactory:
    """The source that the command line has: the models' base paths, polled."""

    preferred = preferred_by(options)

    def what_is_missing(path: Path, platform: str) -> str | None:
        return missing_parts(path, preferred_platform(platform, preferred))

    def make(target: AspiredTarget, models: Sequence[ModelConfig]) -> SourceThread:
        watched = [WatchedModel(model.name, model.base_path, model.version_policy, model.platform) for model in models]
        return Poller(watched, target, LocalStorage(), what_is_missing, options.file_system_poll_wait_seconds)

    return make


def loader_by_content(
    warm_up: WarmUp,
    loader_options: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    preferred: str = "",
    engine_options: EngineOptions = lambda model: {},
) -> LoaderFactory:
    """The loaders that the command line has: of whatever platform the version folder is.

    Args:
        warm_up: What is done with a version before its first request.
        loader_options: Platform -> what its loader is told.
        preferred: The platform that is looked for first where a folder holds models of two kinds; empty for none.
        engine_options: What the loader of a model's SavedModels is told about engines; asked when one loads.
    """

    def make(model: ModelConfig) -> Loader:
        check_platform(model.name, model.platform)

        def options(platform: str) -> Mapping[str, Any]:
            told = loader_options.get(platform, {})
            return {**told, **engine_options(model)} if platform == "tensorflow" else told

        return ByContentLoader(model.platform, warm_up, options, preferred)

    return make


def preferred_by(options: ServerOptions) -> str:
    """The platform that is looked for first in version folders."""
    return "litert" if session_bundle_config(options).prefer_tflite_model else ""


def configured_warm_up(
    options: ServerOptions, bundle: SessionBundleConfig, metrics: Metrics, batching: BatchingSetup, plans: BatchPlans
) -> WarmUp:
    """The warm-up that the configuration asks for: with recorded requests, or made-up ones where there are none.

    Around it a version gets its plan of how requests share runs. Whether rows are independent is found out by running
    them, so that without a warm-up no plan comes of that.
    """
    samples = Samples()
    warm_up: WarmUp = no_warm_up
    if bundle.enable_model_warmup:
        warm_up = RecordedWarmUp(
            RecordedRequests(
                metrics, plans=plans, samples=samples, check_method_name=options.enable_signature_method_name_check
            ),
            metrics,
            iterations=warmup_iterations(bundle),
            otherwise=warm_up_with_made_up_inputs,
        )
    if batching.options is not None:
        read = read_version_options if batching.per_version else None
        planned = PlannedWarmUp(warm_up, ConfiguredPlanning(plans, batching.options, read))
        return BatchSizesWarmUp(planned, plans) if bundle.enable_model_warmup else planned
    if options.natural_batching and bundle.enable_model_warmup:
        return BatchSizesWarmUp(PlannedWarmUp(warm_up, NaturalPlanning(plans, samples)), plans)
    return warm_up


def configured_engine(
    options: ServerOptions, batching: BatchingSetup, plans: BatchPlans, metrics: Metrics
) -> EngineThreads:
    """What runs requests, and the line of the log that says how."""
    configured = batching.options.num_batch_threads if batching.options is not None else None
    threads = configured or usable_cpus()
    if batching.options is None:
        how = "requests that wait share runs where rows are independent" if options.natural_batching else "none"
    else:
        how = "as each version's folder says" if batching.per_version else describe(batching.options)
    logger.info("Usable processors: %d; engine threads: %d; batching: %s", usable_cpus(), threads, how)
    logger.info("JSON codec: %s", describe_codec())
    bounds = QueueBounds(options.max_queued_requests, options.max_queued_bytes)
    return EngineThreads(threads, plans=plans, metrics=metrics, bounds=bounds)


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def logged_models(models: Sequence[ModelConfig]) -> Mapping[str, RequestLogConfig]:
    """How the models are logged whose requests are."""
    return {model.name: model.request_log for model in models if model.request_log is not None}


def configured_watch(
    options: ServerOptions, models: Sequence[ModelConfig], reloader: ConfigReloader[Any]
) -> ConfigWatch:
    """What looks at the config file again, as often as the options say."""
    config_file = ConfigFile(Path(options.model_config_file), read_reloaded_config, models, reloader)
    period = options.model_config_file_poll_wait_seconds if options.model_config_file else 0
    return ConfigWatch(config_file.look, period)


def configured_cors(options: ServerOptions) -> CorsPolicy:
    """What browsers are told; a list of origins is narrower than all of them, and wins."""
    if options.rest_api_cors_origins:
        return listed_origins(parse_origins(options.rest_api_cors_origins))
    return any_origin if options.rest_api_enable_cors_support else no_cors


@dataclass(frozen=True, slots=True)
class Inference:
    """What turns folders into servables, and runs them.

    Attributes:
        make_loader: Makes the loader of a model's versions.
        engine: Runs requests.
        engine_room: Finds out, in the background, which engines run SavedModels best.
    """

    make_loader: LoaderFactory
    engine: EngineThreads
    engine_room: EngineRoomOnDemand


def assemble_inference(
    options: ServerOptions, metrics: Metrics, timed: Callable[[WarmUp], WarmUp], loader: LoaderFactory | None
) -> Inference:
    """Makes what a process needs that runs models.

    Args:
        options: What the server is told.
        metrics: Counts.
        timed: The same warm-up, whose time is taken.
        loader: Makes the loader of a model's versions, in place of the one that goes by a folder's content.

    Raises:
        ConfigError: A file that the options name is wrong, or operations cannot be loaded.
    """
    bundle = session_bundle_config(options)
    load_operations(_listed(options.custom_op_libraries), _listed(options.import_modules))
    batching = batching_setup(options, bundle)
    in_common = batching.options if not batching.per_version else None
    plans = BatchPlans(None if in_common is None else VersionPlan(otherwise=in_common.rules()))
    warm_up = timed(configured_warm_up(options, bundle, metrics, batching, plans))
    room = EngineRoomOnDemand(options)
    engine_metrics = EngineMetrics(metrics)

    def engine_options(model: ModelConfig) -> Mapping[str, Any]:
        return {
            "engine": model.engine or options.engine,
            "room": room.get(),
            "observer": engine_metrics.of_model(model.name),
        }

    make_loader = loader or loader_by_content(warm_up, loader_options(bundle), preferred_by(options), engine_options)
    return Inference(make_loader, configured_engine(options, batching, plans, metrics), room)


def load_threads(options: ServerOptions) -> int:
    """How many models load at the same time."""
    return options.num_load_threads or max(2, usable_cpus())


def unload_threads(options: ServerOptions) -> int:
    """How many versions unload at the same time."""
    return options.num_unload_threads or 1


def configured_labels(options: ServerOptions, models: Sequence[ModelConfig]) -> Labels:
    """The labels of all models."""
    labels = Labels(allow_unavailable=options.allow_version_labels_for_unavailable_models)
    for model in models:
        labels.configure(model.name, model.version_labels)
    return labels


def assemble_manager(
    options: ServerOptions, models: Sequence[ModelConfig], loader_for: Callable[[ServableId], Loader], life: LifeMetrics
) -> Manager:
    """Makes the manager of these models, watched by `life`."""
    manager = Manager(
        loader_for,
        labels=configured_labels(options, models),
        load_threads=load_threads(options),
        unload_threads=unload_threads(options),
        max_load_retries=max(0, options.max_num_load_retries),
        load_retry_seconds=max(0.0, options.load_retry_interval_micros / 1e6),
        policy=TRANSITION_POLICIES[options.aspired_version_policy],
        observer=life,
    )
    manager.events.subscribe(life.on_status)
    return manager


def assemble_model_gauges(metrics: Metrics, manager: Manager, health: Health, source: SourceThread) -> None:
    """Adds the metrics of the configured models."""
    ModelGauges(
        metrics,
        manager,
        is_ready=health.is_ready,
        names=lambda: health.model_names,
        problems=lambda: source.problems,
        last_looks=lambda: source.last_looks,
    )


def assemble_apis(
    options: ServerOptions,
    manager: ServedVersions,
    engine: EngineThreads,
    health: Health,
    health_service: HealthService,
    metrics: Metrics,
    request_log: RequestLog,
    reload_config: Unary,
    read_metrics: Callable[[], Awaitable[Iterable[Instrument]]],
) -> tuple[RestApi, GrpcServices]:
    """Makes both APIs.

    Raises:
        ConfigError: A file that the options name is wrong.
    """
    codec_threads = CodecThreads()
    predict = Predict(engine)
    rest = RestApi(
        manager,
        predict,
        health,
        metrics,
        timeout_seconds=options.rest_api_timeout_in_ms / 1e3 if options.rest_api_timeout_in_ms > 0 else None,
        max_message_bytes=options.max_message_bytes,
        request_log=request_log,
        codec_threads=codec_threads,
        cors=configured_cors(options),
        metrics_path=metrics_path(options.monitoring_config_file),
        read_metrics=read_metrics,
        as_content=options.enable_serialization_as_tensor_content,
        check_method_name=options.enable_signature_method_name_check,
        gatherer=engine,
    )
    grpc = GrpcServices(
        manager,
        predict,
        health_service,
        metrics,
        reload_config,
        request_log,
        codec_threads,
        as_content=options.enable_serialization_as_tensor_content,
        check_method_name=options.enable_signature_method_name_check,
        gatherer=engine,
    )
    return rest, grpc


def assemble(
    options: ServerOptions, models: Sequence[ModelConfig], source: SourceFactory, loader: LoaderFactory | None = None
) -> Parts:
    """Makes all parts of a server.

    Args:
        options: What the server is told.
        models: What it serves.
        source: Makes the source of versions.
        loader: Makes the loader of a model's versions, in place of the one that goes by a folder's content.

    Raises:
        ConfigError: A model asks for a platform that there is not, a file that the options name is wrong, operations
            cannot be loaded, or what `loader` raises.
    """
    metrics = Metrics()
    log_unused_config(options)
    life = LifeMetrics(metrics)
    ProcessMetrics(metrics)
    inference = assemble_inference(options, metrics, life.timed, loader)
    make_loader = inference.make_loader
    loaders = {model.name: make_loader(model) for model in models}
    manager = assemble_manager(options, models, lambda id: loaders[id.name], life)
    running_source = source(manager, models)
    manager.problems = lambda: running_source.problems
    health = Health(manager, [model.name for model in models], manager.problems)
    assemble_model_gauges(metrics, manager, health, running_source)
    health_service = HealthService(health, manager.events)
    request_log = SampledRequestLog(logged_models(models), metrics, max_file_bytes=options.request_log_max_file_bytes)

    def on_reloaded(models: Sequence[ModelConfig]) -> None:
        request_log.configure(logged_models(models))
        health_service.notify()

    reloader = ConfigReloader(models, loaders, make_loader, manager, running_source, health, on_reloaded)
    reload_config = GrpcReload(reloader, metrics).reload_config
    rest, grpc = assemble_apis(
        options,
        manager,
        inference.engine,
        health,
        health_service,
        metrics,
        request_log,
        reload_config,
        metrics.read,
    )
    return Parts(
        models=tuple(models),
        manager=manager,
        source=running_source,
        config_watch=configured_watch(options, models, reloader),
        engine=inference.engine,
        engine_room=inference.engine_room,
        health=health,
        health_service=health_service,
        metrics=metrics,
        request_log=request_log,
        rest=rest,
        grpc=grpc,
    )
