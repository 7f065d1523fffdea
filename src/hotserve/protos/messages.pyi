# Written by scripts/compile_protos.py from the .proto files beside it.
from collections.abc import Iterable, Mapping
from typing import ClassVar, final

from google.protobuf.internal import well_known_types
from google.protobuf.internal.containers import (
    MessageMap,
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
    ScalarMap,
)
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DataType: EnumTypeWrapper
ErrorCode: EnumTypeWrapper
ModelType: EnumTypeWrapper

@final
class AnyMessage(well_known_types.Any, Message):
    def __init__(self, *, type_url: str = ..., value: bytes = ...) -> None: ...

@final
class BoolValue(Message):
    value: bool
    def __init__(self, *, value: bool = ...) -> None: ...

@final
class Int32Value(Message):
    value: int
    def __init__(self, *, value: int = ...) -> None: ...

@final
class Int64Value(Message):
    value: int
    def __init__(self, *, value: int = ...) -> None: ...

@final
class StringValue(Message):
    value: str
    def __init__(self, *, value: str = ...) -> None: ...

@final
class BytesList(Message):
    @property
    def value(self) -> RepeatedScalarFieldContainer[bytes]: ...
    def __init__(self, *, value: Iterable[bytes] = ...) -> None: ...

@final
class FloatList(Message):
    @property
    def value(self) -> RepeatedScalarFieldContainer[float]: ...
    def __init__(self, *, value: Iterable[float] = ...) -> None: ...

@final
class Int64List(Message):
    @property
    def value(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(self, *, value: Iterable[int] = ...) -> None: ...

@final
class Feature(Message):
    @property
    def bytes_list(self) -> BytesList: ...
    @property
    def float_list(self) -> FloatList: ...
    @property
    def int64_list(self) -> Int64List: ...
    def __init__(
        self,
        *,
        bytes_list: BytesList | None = ...,
        float_list: FloatList | None = ...,
        int64_list: Int64List | None = ...,
    ) -> None: ...

@final
class Features(Message):
    @property
    def feature(self) -> MessageMap[str, Feature]: ...
    def __init__(self, *, feature: Mapping[str, Feature] = ...) -> None: ...

@final
class FeatureList(Message):
    @property
    def feature(self) -> RepeatedCompositeFieldContainer[Feature]: ...
    def __init__(self, *, feature: Iterable[Feature] = ...) -> None: ...

@final
class FeatureLists(Message):
    @property
    def feature_list(self) -> MessageMap[str, FeatureList]: ...
    def __init__(self, *, feature_list: Mapping[str, FeatureList] = ...) -> None: ...

@final
class Example(Message):
    @property
    def features(self) -> Features: ...
    def __init__(self, *, features: Features | None = ...) -> None: ...

@final
class SequenceExample(Message):
    @property
    def context(self) -> Features: ...
    @property
    def feature_lists(self) -> FeatureLists: ...
    def __init__(self, *, context: Features | None = ..., feature_lists: FeatureLists | None = ...) -> None: ...

@final
class TensorShapeProto(Message):
    @final
    class Dim(Message):
        size: int
        name: str
        def __init__(self, *, size: int = ..., name: str = ...) -> None: ...

    @property
    def dim(self) -> RepeatedCompositeFieldContainer[TensorShapeProto.Dim]: ...
    unknown_rank: bool
    def __init__(self, *, dim: Iterable[TensorShapeProto.Dim] = ..., unknown_rank: bool = ...) -> None: ...

@final
class TensorProto(Message):
    dtype: int
    @property
    def tensor_shape(self) -> TensorShapeProto: ...
    version_number: int
    tensor_content: bytes
    @property
    def float_val(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def double_val(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def int_val(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def string_val(self) -> RepeatedScalarFieldContainer[bytes]: ...
    @property
    def scomplex_val(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def int64_val(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def bool_val(self) -> RepeatedScalarFieldContainer[bool]: ...
    @property
    def dcomplex_val(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def half_val(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def resource_handle_val(self) -> RepeatedCompositeFieldContainer[ResourceHandleProto]: ...
    @property
    def variant_val(self) -> RepeatedCompositeFieldContainer[VariantTensorDataProto]: ...
    @property
    def uint32_val(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def uint64_val(self) -> RepeatedScalarFieldContainer[int]: ...
    float8_val: bytes
    def __init__(
        self,
        *,
        dtype: int = ...,
        tensor_shape: TensorShapeProto | None = ...,
        version_number: int = ...,
        tensor_content: bytes = ...,
        float_val: Iterable[float] = ...,
        double_val: Iterable[float] = ...,
        int_val: Iterable[int] = ...,
        string_val: Iterable[bytes] = ...,
        scomplex_val: Iterable[float] = ...,
        int64_val: Iterable[int] = ...,
        bool_val: Iterable[bool] = ...,
        dcomplex_val: Iterable[float] = ...,
        half_val: Iterable[int] = ...,
        resource_handle_val: Iterable[ResourceHandleProto] = ...,
        variant_val: Iterable[VariantTensorDataProto] = ...,
        uint32_val: Iterable[int] = ...,
        uint64_val: Iterable[int] = ...,
        float8_val: bytes = ...,
    ) -> None: ...

@final
class VariantTensorDataProto(Message):
    type_name: str
    metadata: bytes
    @property
    def tensors(self) -> RepeatedCompositeFieldContainer[TensorProto]: ...
    def __init__(
        self,
        *,
        type_name: str = ...,
        metadata: bytes = ...,
        tensors: Iterable[TensorProto] = ...,
    ) -> None: ...

@final
class ResourceHandleProto(Message):
    @final
    class DtypeAndShape(Message):
        dtype: int
        @property
        def shape(self) -> TensorShapeProto: ...
        def __init__(self, *, dtype: int = ..., shape: TensorShapeProto | None = ...) -> None: ...

    device: str
    container: str
    name: str
    hash_code: int
    maybe_type_name: str
    @property
    def dtypes_and_shapes(self) -> RepeatedCompositeFieldContainer[ResourceHandleProto.DtypeAndShape]: ...
    def __init__(
        self,
        *,
        device: str = ...,
        container: str = ...,
        name: str = ...,
        hash_code: int = ...,
        maybe_type_name: str = ...,
        dtypes_and_shapes: Iterable[ResourceHandleProto.DtypeAndShape] = ...,
    ) -> None: ...

@final
class NamedTensorProto(Message):
    name: str
    @property
    def tensor(self) -> TensorProto: ...
    def __init__(self, *, name: str = ..., tensor: TensorProto | None = ...) -> None: ...

@final
class AttrValue(Message):
    @final
    class ListValue(Message):
        @property
        def s(self) -> RepeatedScalarFieldContainer[bytes]: ...
        @property
        def i(self) -> RepeatedScalarFieldContainer[int]: ...
        @property
        def f(self) -> RepeatedScalarFieldContainer[float]: ...
        @property
        def b(self) -> RepeatedScalarFieldContainer[bool]: ...
        @property
        def type(self) -> RepeatedScalarFieldContainer[int]: ...
        @property
        def shape(self) -> RepeatedCompositeFieldContainer[TensorShapeProto]: ...
        @property
        def tensor(self) -> RepeatedCompositeFieldContainer[TensorProto]: ...
        @property
        def func(self) -> RepeatedCompositeFieldContainer[NameAttrList]: ...
        def __init__(
            self,
            *,
            s: Iterable[bytes] = ...,
            i: Iterable[int] = ...,
            f: Iterable[float] = ...,
            b: Iterable[bool] = ...,
            type: Iterable[int] = ...,
            shape: Iterable[TensorShapeProto] = ...,
            tensor: Iterable[TensorProto] = ...,
            func: Iterable[NameAttrList] = ...,
        ) -> None: ...

    @property
    def list(self) -> AttrValue.ListValue: ...
    s: bytes
    i: int
    f: float
    b: bool
    type: int
    @property
    def shape(self) -> TensorShapeProto: ...
    @property
    def tensor(self) -> TensorProto: ...
    placeholder: str
    @property
    def func(self) -> NameAttrList: ...
    def __init__(
        self,
        *,
        list: AttrValue.ListValue | None = ...,
        s: bytes = ...,
        i: int = ...,
        f: float = ...,
        b: bool = ...,
        type: int = ...,
        shape: TensorShapeProto | None = ...,
        tensor: TensorProto | None = ...,
        placeholder: str = ...,
        func: NameAttrList | None = ...,
    ) -> None: ...

@final
class NameAttrList(Message):
    name: str
    @property
    def attr(self) -> MessageMap[str, AttrValue]: ...
    def __init__(self, *, name: str = ..., attr: Mapping[str, AttrValue] = ...) -> None: ...

@final
class VerifierConfig(Message):
    Toggle: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    ON: ClassVar[int]
    OFF: ClassVar[int]
    verification_timeout_in_ms: int
    structure_verifier: int
    def __init__(self, *, verification_timeout_in_ms: int = ..., structure_verifier: int = ...) -> None: ...

@final
class AutoParallelOptions(Message):
    enable: bool
    num_replicas: int
    def __init__(self, *, enable: bool = ..., num_replicas: int = ...) -> None: ...

@final
class ScopedAllocatorOptions(Message):
    @property
    def enable_op(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(self, *, enable_op: Iterable[str] = ...) -> None: ...

@final
class RewriterConfig(Message):
    @final
    class CustomGraphOptimizer(Message):
        name: str
        @property
        def parameter_map(self) -> MessageMap[str, AttrValue]: ...
        def __init__(self, *, name: str = ..., parameter_map: Mapping[str, AttrValue] = ...) -> None: ...

    Toggle: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    ON: ClassVar[int]
    OFF: ClassVar[int]
    AGGRESSIVE: ClassVar[int]
    EXPERIMENTAL_MLIR: ClassVar[int]
    EXPERIMENTAL_BOTH: ClassVar[int]
    CpuLayout: ClassVar[EnumTypeWrapper]
    NO_CONVERSION_ON_CPU: ClassVar[int]
    NCHW_TO_NHWC: ClassVar[int]
    NHWC_TO_NCHW: ClassVar[int]
    NumIterationsType: ClassVar[EnumTypeWrapper]
    DEFAULT_NUM_ITERS: ClassVar[int]
    ONE: ClassVar[int]
    TWO: ClassVar[int]
    MemOptType: ClassVar[EnumTypeWrapper]
    DEFAULT_MEM_OPT: ClassVar[int]
    NO_MEM_OPT: ClassVar[int]
    MANUAL: ClassVar[int]
    SWAPPING_HEURISTICS: ClassVar[int]
    RECOMPUTATION_HEURISTICS: ClassVar[int]
    SCHEDULING_HEURISTICS: ClassVar[int]
    HEURISTICS: ClassVar[int]
    layout_optimizer: int
    disable_model_pruning: bool
    constant_folding: int
    memory_optimization: int
    @property
    def auto_parallel(self) -> AutoParallelOptions: ...
    memory_optimizer_target_node_name_scope: str
    arithmetic_optimization: int
    dependency_optimization: int
    loop_optimization: int
    function_optimization: int
    debug_stripper: int
    meta_optimizer_iterations: int
    shape_optimization: int
    remapping: int
    scoped_allocator_optimization: int
    @property
    def scoped_allocator_opts(self) -> ScopedAllocatorOptions: ...
    min_graph_nodes: int
    pin_to_host_optimization: int
    disable_meta_optimizer: bool
    meta_optimizer_timeout_ms: int
    fail_on_optimizer_errors: bool
    implementation_selector: int
    auto_mixed_precision: int
    common_subgraph_elimination: int
    auto_mixed_precision_mkl: int
    experimental_disable_compressed_tensor_optimization: bool
    experimental_disable_folding_quantization_emulation: bool
    use_plugin_optimizers: int
    auto_mixed_precision_cpu: int
    experimental_conditional_code_motion: int
    auto_mixed_precision_onednn_bfloat16: int
    disable_tfg_optimizer: bool
    cpu_layout_conversion: int
    @property
    def optimizers(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def custom_optimizers(self) -> RepeatedCompositeFieldContainer[RewriterConfig.CustomGraphOptimizer]: ...
    @property
    def inter_optimizer_verifier_config(self) -> VerifierConfig: ...
    @property
    def post_optimization_verifier_config(self) -> VerifierConfig: ...
    def __init__(
        self,
        *,
        layout_optimizer: int = ...,
        disable_model_pruning: bool = ...,
        constant_folding: int = ...,
        memory_optimization: int = ...,
        auto_parallel: AutoParallelOptions | None = ...,
        memory_optimizer_target_node_name_scope: str = ...,
        arithmetic_optimization: int = ...,
        dependency_optimization: int = ...,
        loop_optimization: int = ...,
        function_optimization: int = ...,
        debug_stripper: int = ...,
        meta_optimizer_iterations: int = ...,
        shape_optimization: int = ...,
        remapping: int = ...,
        scoped_allocator_optimization: int = ...,
        scoped_allocator_opts: ScopedAllocatorOptions | None = ...,
        min_graph_nodes: int = ...,
        pin_to_host_optimization: int = ...,
        disable_meta_optimizer: bool = ...,
        meta_optimizer_timeout_ms: int = ...,
        fail_on_optimizer_errors: bool = ...,
        implementation_selector: int = ...,
        auto_mixed_precision: int = ...,
        common_subgraph_elimination: int = ...,
        auto_mixed_precision_mkl: int = ...,
        experimental_disable_compressed_tensor_optimization: bool = ...,
        experimental_disable_folding_quantization_emulation: bool = ...,
        use_plugin_optimizers: int = ...,
        auto_mixed_precision_cpu: int = ...,
        experimental_conditional_code_motion: int = ...,
        auto_mixed_precision_onednn_bfloat16: int = ...,
        disable_tfg_optimizer: bool = ...,
        cpu_layout_conversion: int = ...,
        optimizers: Iterable[str] = ...,
        custom_optimizers: Iterable[RewriterConfig.CustomGraphOptimizer] = ...,
        inter_optimizer_verifier_config: VerifierConfig | None = ...,
        post_optimization_verifier_config: VerifierConfig | None = ...,
    ) -> None: ...

@final
class NodeDef(Message):
    name: str
    op: str
    @property
    def input(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def attr(self) -> MessageMap[str, AttrValue]: ...
    def __init__(
        self,
        *,
        name: str = ...,
        op: str = ...,
        input: Iterable[str] = ...,
        attr: Mapping[str, AttrValue] = ...,
    ) -> None: ...

@final
class OpDef(Message):
    @final
    class ArgDef(Message):
        name: str
        def __init__(self, *, name: str = ...) -> None: ...

    name: str
    @property
    def input_arg(self) -> RepeatedCompositeFieldContainer[OpDef.ArgDef]: ...
    @property
    def output_arg(self) -> RepeatedCompositeFieldContainer[OpDef.ArgDef]: ...
    def __init__(
        self,
        *,
        name: str = ...,
        input_arg: Iterable[OpDef.ArgDef] = ...,
        output_arg: Iterable[OpDef.ArgDef] = ...,
    ) -> None: ...

@final
class FunctionDef(Message):
    @property
    def signature(self) -> OpDef: ...
    @property
    def node_def(self) -> RepeatedCompositeFieldContainer[NodeDef]: ...
    @property
    def ret(self) -> ScalarMap[str, str]: ...
    def __init__(
        self,
        *,
        signature: OpDef | None = ...,
        node_def: Iterable[NodeDef] = ...,
        ret: Mapping[str, str] = ...,
    ) -> None: ...

@final
class FunctionDefLibrary(Message):
    @property
    def function(self) -> RepeatedCompositeFieldContainer[FunctionDef]: ...
    def __init__(self, *, function: Iterable[FunctionDef] = ...) -> None: ...

@final
class GraphDef(Message):
    @property
    def node(self) -> RepeatedCompositeFieldContainer[NodeDef]: ...
    @property
    def library(self) -> FunctionDefLibrary: ...
    def __init__(self, *, node: Iterable[NodeDef] = ..., library: FunctionDefLibrary | None = ...) -> None: ...

@final
class HealthCheckRequest(Message):
    service: str
    def __init__(self, *, service: str = ...) -> None: ...

@final
class HealthCheckResponse(Message):
    ServingStatus: ClassVar[EnumTypeWrapper]
    UNKNOWN: ClassVar[int]
    SERVING: ClassVar[int]
    NOT_SERVING: ClassVar[int]
    SERVICE_UNKNOWN: ClassVar[int]
    status: int
    def __init__(self, *, status: int = ...) -> None: ...

@final
class ModelSpec(Message):
    name: str
    @property
    def version(self) -> Int64Value: ...
    signature_name: str
    version_label: str
    def __init__(
        self,
        *,
        name: str = ...,
        version: Int64Value | None = ...,
        signature_name: str = ...,
        version_label: str = ...,
    ) -> None: ...

@final
class PredictRequest(Message):
    @final
    class RequestOptions(Message):
        @final
        class Handshake(Message):
            estimated_payload_bytes: int
            def __init__(self, *, estimated_payload_bytes: int = ...) -> None: ...

        DeterministicMode: ClassVar[EnumTypeWrapper]
        DETERMINISTIC_MODE_UNSPECIFIED: ClassVar[int]
        FIXED_DECODER_SLOT: ClassVar[int]
        client_id: bytes
        deterministic_mode: int
        return_additional_arrays_from_prefill: bool
        @property
        def return_stoptokens(self) -> RepeatedScalarFieldContainer[int]: ...
        max_cache_length: int
        return_all_stoptokens: bool
        @property
        def handshake(self) -> PredictRequest.RequestOptions.Handshake: ...
        def __init__(
            self,
            *,
            client_id: bytes = ...,
            deterministic_mode: int = ...,
            return_additional_arrays_from_prefill: bool = ...,
            return_stoptokens: Iterable[int] = ...,
            max_cache_length: int = ...,
            return_all_stoptokens: bool = ...,
            handshake: PredictRequest.RequestOptions.Handshake | None = ...,
        ) -> None: ...

    @property
    def model_spec(self) -> ModelSpec: ...
    @property
    def inputs(self) -> MessageMap[str, TensorProto]: ...
    @property
    def output_filter(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def predict_streamed_options(self) -> PredictStreamedOptions: ...
    client_id: bytes
    @property
    def request_options(self) -> PredictRequest.RequestOptions: ...
    def __init__(
        self,
        *,
        model_spec: ModelSpec | None = ...,
        inputs: Mapping[str, TensorProto] = ...,
        output_filter: Iterable[str] = ...,
        predict_streamed_options: PredictStreamedOptions | None = ...,
        client_id: bytes = ...,
        request_options: PredictRequest.RequestOptions | None = ...,
    ) -> None: ...

@final
class PredictStreamedOptions(Message):
    RequestState: ClassVar[EnumTypeWrapper]
    NONE: ClassVar[int]
    SPLIT: ClassVar[int]
    END_SPLIT: ClassVar[int]
    CANCEL: ClassVar[int]
    request_state: int
    @property
    def split_dimensions(self) -> ScalarMap[str, int]: ...
    return_single_response: bool
    def __init__(
        self,
        *,
        request_state: int = ...,
        split_dimensions: Mapping[str, int] = ...,
        return_single_response: bool = ...,
    ) -> None: ...

@final
class PredictResponse(Message):
    @property
    def outputs(self) -> MessageMap[str, TensorProto]: ...
    @property
    def model_spec(self) -> ModelSpec: ...
    def __init__(self, *, outputs: Mapping[str, TensorProto] = ..., model_spec: ModelSpec | None = ...) -> None: ...

@final
class ExampleList(Message):
    @property
    def examples(self) -> RepeatedCompositeFieldContainer[Example]: ...
    def __init__(self, *, examples: Iterable[Example] = ...) -> None: ...

@final
class ExampleListWithContext(Message):
    @property
    def examples(self) -> RepeatedCompositeFieldContainer[Example]: ...
    @property
    def context(self) -> Example: ...
    def __init__(self, *, examples: Iterable[Example] = ..., context: Example | None = ...) -> None: ...

@final
class Input(Message):
    @property
    def example_list(self) -> ExampleList: ...
    @property
    def example_list_with_context(self) -> ExampleListWithContext: ...
    def __init__(
        self,
        *,
        example_list: ExampleList | None = ...,
        example_list_with_context: ExampleListWithContext | None = ...,
    ) -> None: ...

@final
class Class(Message):
    label: str
    score: float
    def __init__(self, *, label: str = ..., score: float = ...) -> None: ...

@final
class Classifications(Message):
    @property
    def classes(self) -> RepeatedCompositeFieldContainer[Class]: ...
    def __init__(self, *, classes: Iterable[Class] = ...) -> None: ...

@final
class ClassificationResult(Message):
    @property
    def classifications(self) -> RepeatedCompositeFieldContainer[Classifications]: ...
    def __init__(self, *, classifications: Iterable[Classifications] = ...) -> None: ...

@final
class ClassificationRequest(Message):
    @property
    def model_spec(self) -> ModelSpec: ...
    @property
    def input(self) -> Input: ...
    def __init__(self, *, model_spec: ModelSpec | None = ..., input: Input | None = ...) -> None: ...

@final
class ClassificationResponse(Message):
    @property
    def result(self) -> ClassificationResult: ...
    @property
    def model_spec(self) -> ModelSpec: ...
    def __init__(self, *, result: ClassificationResult | None = ..., model_spec: ModelSpec | None = ...) -> None: ...

@final
class Regression(Message):
    value: float
    def __init__(self, *, value: float = ...) -> None: ...

@final
class RegressionResult(Message):
    @property
    def regressions(self) -> RepeatedCompositeFieldContainer[Regression]: ...
    def __init__(self, *, regressions: Iterable[Regression] = ...) -> None: ...

@final
class RegressionRequest(Message):
    @property
    def model_spec(self) -> ModelSpec: ...
    @property
    def input(self) -> Input: ...
    def __init__(self, *, model_spec: ModelSpec | None = ..., input: Input | None = ...) -> None: ...

@final
class RegressionResponse(Message):
    @property
    def result(self) -> RegressionResult: ...
    @property
    def model_spec(self) -> ModelSpec: ...
    def __init__(self, *, result: RegressionResult | None = ..., model_spec: ModelSpec | None = ...) -> None: ...

@final
class InferenceTask(Message):
    @property
    def model_spec(self) -> ModelSpec: ...
    method_name: str
    def __init__(self, *, model_spec: ModelSpec | None = ..., method_name: str = ...) -> None: ...

@final
class InferenceResult(Message):
    @property
    def model_spec(self) -> ModelSpec: ...
    @property
    def classification_result(self) -> ClassificationResult: ...
    @property
    def regression_result(self) -> RegressionResult: ...
    def __init__(
        self,
        *,
        model_spec: ModelSpec | None = ...,
        classification_result: ClassificationResult | None = ...,
        regression_result: RegressionResult | None = ...,
    ) -> None: ...

@final
class MultiInferenceRequest(Message):
    @property
    def tasks(self) -> RepeatedCompositeFieldContainer[InferenceTask]: ...
    @property
    def input(self) -> Input: ...
    def __init__(self, *, tasks: Iterable[InferenceTask] = ..., input: Input | None = ...) -> None: ...

@final
class MultiInferenceResponse(Message):
    @property
    def results(self) -> RepeatedCompositeFieldContainer[InferenceResult]: ...
    def __init__(self, *, results: Iterable[InferenceResult] = ...) -> None: ...

@final
class FileSystemStoragePathSourceConfig(Message):
    @final
    class ServableVersionPolicy(Message):
        @final
        class Latest(Message):
            num_versions: int
            def __init__(self, *, num_versions: int = ...) -> None: ...

        @final
        class All(Message): ...

        @final
        class Specific(Message):
            @property
            def versions(self) -> RepeatedScalarFieldContainer[int]: ...
            def __init__(self, *, versions: Iterable[int] = ...) -> None: ...

        @property
        def latest(self) -> FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest: ...
        @property
        def all(self) -> FileSystemStoragePathSourceConfig.ServableVersionPolicy.All: ...
        @property
        def specific(self) -> FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific: ...
        def __init__(
            self,
            *,
            latest: FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest | None = ...,
            all: FileSystemStoragePathSourceConfig.ServableVersionPolicy.All | None = ...,
            specific: FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific | None = ...,
        ) -> None: ...

    @final
    class ServableToMonitor(Message):
        servable_name: str
        base_path: str
        @property
        def servable_version_policy(self) -> FileSystemStoragePathSourceConfig.ServableVersionPolicy: ...
        def __init__(
            self,
            *,
            servable_name: str = ...,
            base_path: str = ...,
            servable_version_policy: FileSystemStoragePathSourceConfig.ServableVersionPolicy | None = ...,
        ) -> None: ...

    file_system_poll_wait_seconds: int
    fail_if_zero_versions_at_startup: bool
    @property
    def servables(self) -> RepeatedCompositeFieldContainer[FileSystemStoragePathSourceConfig.ServableToMonitor]: ...
    servable_versions_always_present: bool
    def __init__(
        self,
        *,
        file_system_poll_wait_seconds: int = ...,
        fail_if_zero_versions_at_startup: bool = ...,
        servables: Iterable[FileSystemStoragePathSourceConfig.ServableToMonitor] = ...,
        servable_versions_always_present: bool = ...,
    ) -> None: ...

@final
class LogCollectorConfig(Message):
    type: str
    filename_prefix: str
    def __init__(self, *, type: str = ..., filename_prefix: str = ...) -> None: ...

@final
class PerTaskSamplingConfig(Message):
    dc: str
    task_index: int
    sampling_rate: float
    def __init__(self, *, dc: str = ..., task_index: int = ..., sampling_rate: float = ...) -> None: ...

@final
class SamplingConfig(Message):
    Attributes: ClassVar[EnumTypeWrapper]
    ATTR_DEFAULT: ClassVar[int]
    ATTR_REQUEST_ORIGIN: ClassVar[int]
    ATTR_REQUEST_CRITICALITY: ClassVar[int]
    sampling_rate: float
    attributes: int
    @property
    def per_task_sampling_configs(self) -> RepeatedCompositeFieldContainer[PerTaskSamplingConfig]: ...
    def __init__(
        self,
        *,
        sampling_rate: float = ...,
        attributes: int = ...,
        per_task_sampling_configs: Iterable[PerTaskSamplingConfig] = ...,
    ) -> None: ...

@final
class LoggingConfig(Message):
    @property
    def log_collector_config(self) -> LogCollectorConfig: ...
    @property
    def sampling_config(self) -> SamplingConfig: ...
    @property
    def custom_logging_config(self) -> AnyMessage: ...
    def __init__(
        self,
        *,
        log_collector_config: LogCollectorConfig | None = ...,
        sampling_config: SamplingConfig | None = ...,
        custom_logging_config: AnyMessage | None = ...,
    ) -> None: ...

@final
class ModelConfig(Message):
    name: str
    base_path: str
    model_type: int
    model_platform: str
    @property
    def logging_config(self) -> LoggingConfig: ...
    @property
    def model_version_policy(self) -> FileSystemStoragePathSourceConfig.ServableVersionPolicy: ...
    @property
    def version_labels(self) -> ScalarMap[str, int]: ...
    engine: str
    def __init__(
        self,
        *,
        name: str = ...,
        base_path: str = ...,
        model_type: int = ...,
        model_platform: str = ...,
        logging_config: LoggingConfig | None = ...,
        model_version_policy: FileSystemStoragePathSourceConfig.ServableVersionPolicy | None = ...,
        version_labels: Mapping[str, int] = ...,
        engine: str = ...,
    ) -> None: ...

@final
class ModelConfigList(Message):
    @property
    def config(self) -> RepeatedCompositeFieldContainer[ModelConfig]: ...
    def __init__(self, *, config: Iterable[ModelConfig] = ...) -> None: ...

@final
class ModelServerConfig(Message):
    @property
    def model_config_list(self) -> ModelConfigList: ...
    @property
    def custom_model_config(self) -> AnyMessage: ...
    def __init__(
        self,
        *,
        model_config_list: ModelConfigList | None = ...,
        custom_model_config: AnyMessage | None = ...,
    ) -> None: ...

@final
class StatusProto(Message):
    error_code: int
    error_message: str
    def __init__(self, *, error_code: int = ..., error_message: str = ...) -> None: ...

@final
class GetModelStatusRequest(Message):
    @property
    def model_spec(self) -> ModelSpec: ...
    def __init__(self, *, model_spec: ModelSpec | None = ...) -> None: ...

@final
class ModelVersionStatus(Message):
    State: ClassVar[EnumTypeWrapper]
    UNKNOWN: ClassVar[int]
    START: ClassVar[int]
    LOADING: ClassVar[int]
    AVAILABLE: ClassVar[int]
    UNLOADING: ClassVar[int]
    END: ClassVar[int]
    version: int
    state: int
    @property
    def status(self) -> StatusProto: ...
    def __init__(self, *, version: int = ..., state: int = ..., status: StatusProto | None = ...) -> None: ...

@final
class GetModelStatusResponse(Message):
    @property
    def model_version_status(self) -> RepeatedCompositeFieldContainer[ModelVersionStatus]: ...
    def __init__(self, *, model_version_status: Iterable[ModelVersionStatus] = ...) -> None: ...

@final
class ReloadConfigRequest(Message):
    @property
    def config(self) -> ModelServerConfig: ...
    @property
    def metric_names(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(self, *, config: ModelServerConfig | None = ..., metric_names: Iterable[str] = ...) -> None: ...

@final
class Metric(Message):
    name: str
    int64_value_increase: int
    def __init__(self, *, name: str = ..., int64_value_increase: int = ...) -> None: ...

@final
class ReloadConfigResponse(Message):
    @property
    def status(self) -> StatusProto: ...
    @property
    def metric(self) -> RepeatedCompositeFieldContainer[Metric]: ...
    def __init__(self, *, status: StatusProto | None = ..., metric: Iterable[Metric] = ...) -> None: ...

@final
class GPUOptions(Message):
    @final
    class Experimental(Message):
        @final
        class VirtualDevices(Message):
            @property
            def memory_limit_mb(self) -> RepeatedScalarFieldContainer[float]: ...
            @property
            def priority(self) -> RepeatedScalarFieldContainer[int]: ...
            @property
            def device_ordinal(self) -> RepeatedScalarFieldContainer[int]: ...
            def __init__(
                self,
                *,
                memory_limit_mb: Iterable[float] = ...,
                priority: Iterable[int] = ...,
                device_ordinal: Iterable[int] = ...,
            ) -> None: ...

        @final
        class StreamMergeOptions(Message):
            merge_host_to_device_stream: bool
            merge_device_to_host_stream: bool
            merge_device_to_device_stream: bool
            def __init__(
                self,
                *,
                merge_host_to_device_stream: bool = ...,
                merge_device_to_host_stream: bool = ...,
                merge_device_to_device_stream: bool = ...,
            ) -> None: ...

        @property
        def virtual_devices(self) -> RepeatedCompositeFieldContainer[GPUOptions.Experimental.VirtualDevices]: ...
        use_unified_memory: bool
        num_dev_to_dev_copy_streams: int
        collective_ring_order: str
        timestamped_allocator: bool
        kernel_tracker_max_interval: int
        kernel_tracker_max_bytes: int
        kernel_tracker_max_pending: int
        internal_fragmentation_fraction: float
        use_cuda_malloc_async: bool
        disallow_retry_on_allocation_failure: bool
        gpu_host_mem_limit_in_mb: float
        gpu_host_mem_disallow_growth: bool
        num_virtual_devices_per_gpu: int
        gpu_system_memory_size_in_mb: int
        populate_pjrt_gpu_client_creation_info: bool
        node_id: int
        @property
        def stream_merge_options(self) -> GPUOptions.Experimental.StreamMergeOptions: ...
        def __init__(
            self,
            *,
            virtual_devices: Iterable[GPUOptions.Experimental.VirtualDevices] = ...,
            use_unified_memory: bool = ...,
            num_dev_to_dev_copy_streams: int = ...,
            collective_ring_order: str = ...,
            timestamped_allocator: bool = ...,
            kernel_tracker_max_interval: int = ...,
            kernel_tracker_max_bytes: int = ...,
            kernel_tracker_max_pending: int = ...,
            internal_fragmentation_fraction: float = ...,
            use_cuda_malloc_async: bool = ...,
            disallow_retry_on_allocation_failure: bool = ...,
            gpu_host_mem_limit_in_mb: float = ...,
            gpu_host_mem_disallow_growth: bool = ...,
            num_virtual_devices_per_gpu: int = ...,
            gpu_system_memory_size_in_mb: int = ...,
            populate_pjrt_gpu_client_creation_info: bool = ...,
            node_id: int = ...,
            stream_merge_options: GPUOptions.Experimental.StreamMergeOptions | None = ...,
        ) -> None: ...

    per_process_gpu_memory_fraction: float
    allocator_type: str
    deferred_deletion_bytes: int
    allow_growth: bool
    visible_device_list: str
    polling_active_delay_usecs: int
    polling_inactive_delay_msecs: int
    force_gpu_compatible: bool
    @property
    def experimental(self) -> GPUOptions.Experimental: ...
    def __init__(
        self,
        *,
        per_process_gpu_memory_fraction: float = ...,
        allocator_type: str = ...,
        deferred_deletion_bytes: int = ...,
        allow_growth: bool = ...,
        visible_device_list: str = ...,
        polling_active_delay_usecs: int = ...,
        polling_inactive_delay_msecs: int = ...,
        force_gpu_compatible: bool = ...,
        experimental: GPUOptions.Experimental | None = ...,
    ) -> None: ...

@final
class OptimizerOptions(Message):
    Level: ClassVar[EnumTypeWrapper]
    L1: ClassVar[int]
    L0: ClassVar[int]
    GlobalJitLevel: ClassVar[EnumTypeWrapper]
    DEFAULT: ClassVar[int]
    OFF: ClassVar[int]
    ON_1: ClassVar[int]
    ON_2: ClassVar[int]
    do_common_subexpression_elimination: bool
    do_constant_folding: bool
    opt_level: int
    do_function_inlining: bool
    global_jit_level: int
    max_folded_constant_in_bytes: int
    cpu_global_jit: bool
    def __init__(
        self,
        *,
        do_common_subexpression_elimination: bool = ...,
        do_constant_folding: bool = ...,
        opt_level: int = ...,
        do_function_inlining: bool = ...,
        global_jit_level: int = ...,
        max_folded_constant_in_bytes: int = ...,
        cpu_global_jit: bool = ...,
    ) -> None: ...

@final
class GraphOptions(Message):
    enable_recv_scheduling: bool
    @property
    def optimizer_options(self) -> OptimizerOptions: ...
    build_cost_model: int
    infer_shapes: bool
    place_pruned_graph: bool
    enable_bfloat16_sendrecv: bool
    timeline_step: int
    build_cost_model_after: int
    @property
    def rewrite_options(self) -> RewriterConfig: ...
    def __init__(
        self,
        *,
        enable_recv_scheduling: bool = ...,
        optimizer_options: OptimizerOptions | None = ...,
        build_cost_model: int = ...,
        infer_shapes: bool = ...,
        place_pruned_graph: bool = ...,
        enable_bfloat16_sendrecv: bool = ...,
        timeline_step: int = ...,
        build_cost_model_after: int = ...,
        rewrite_options: RewriterConfig | None = ...,
    ) -> None: ...

@final
class ThreadPoolOptionProto(Message):
    num_threads: int
    global_name: str
    def __init__(self, *, num_threads: int = ..., global_name: str = ...) -> None: ...

@final
class SessionMetadata(Message):
    name: str
    version: int
    def __init__(self, *, name: str = ..., version: int = ...) -> None: ...

@final
class RPCOptions(Message):
    use_rpc_for_inprocess_master: bool
    compression_algorithm: str
    compression_level: int
    cache_rpc_response: bool
    disable_session_connection_sharing: bool
    num_channels_per_target: int
    def __init__(
        self,
        *,
        use_rpc_for_inprocess_master: bool = ...,
        compression_algorithm: str = ...,
        compression_level: int = ...,
        cache_rpc_response: bool = ...,
        disable_session_connection_sharing: bool = ...,
        num_channels_per_target: int = ...,
    ) -> None: ...

@final
class JobDef(Message):
    name: str
    @property
    def tasks(self) -> ScalarMap[int, str]: ...
    def __init__(self, *, name: str = ..., tasks: Mapping[int, str] = ...) -> None: ...

@final
class ClusterDef(Message):
    @property
    def job(self) -> RepeatedCompositeFieldContainer[JobDef]: ...
    def __init__(self, *, job: Iterable[JobDef] = ...) -> None: ...

@final
class CoordinatedJob(Message):
    name: str
    num_tasks: int
    def __init__(self, *, name: str = ..., num_tasks: int = ...) -> None: ...

@final
class CoordinationServiceConfig(Message):
    service_type: str
    service_leader: str
    enable_health_check: bool
    cluster_register_timeout_in_ms: int
    heartbeat_timeout_in_ms: int
    shutdown_barrier_timeout_in_ms: int
    agent_destruction_without_shutdown: bool
    @property
    def recoverable_jobs(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def coordinated_job_list(self) -> RepeatedCompositeFieldContainer[CoordinatedJob]: ...
    allow_new_incarnation_to_reconnect: bool
    force_disable: bool
    poll_for_error_from_service_at_startup: bool
    cluster_register_with_barrier: bool
    def __init__(
        self,
        *,
        service_type: str = ...,
        service_leader: str = ...,
        enable_health_check: bool = ...,
        cluster_register_timeout_in_ms: int = ...,
        heartbeat_timeout_in_ms: int = ...,
        shutdown_barrier_timeout_in_ms: int = ...,
        agent_destruction_without_shutdown: bool = ...,
        recoverable_jobs: Iterable[str] = ...,
        coordinated_job_list: Iterable[CoordinatedJob] = ...,
        allow_new_incarnation_to_reconnect: bool = ...,
        force_disable: bool = ...,
        poll_for_error_from_service_at_startup: bool = ...,
        cluster_register_with_barrier: bool = ...,
    ) -> None: ...

@final
class ConfigProto(Message):
    @final
    class Experimental(Message):
        MlirBridgeRollout: ClassVar[EnumTypeWrapper]
        MLIR_BRIDGE_ROLLOUT_UNSPECIFIED: ClassVar[int]
        MLIR_BRIDGE_ROLLOUT_ENABLED: ClassVar[int]
        MLIR_BRIDGE_ROLLOUT_DISABLED: ClassVar[int]
        collective_group_leader: str
        executor_type: str
        recv_buf_max_chunk: int
        use_numa_affinity: bool
        collective_deterministic_sequential_execution: bool
        collective_nccl: bool
        share_session_state_in_clusterspec_propagation: bool
        disable_thread_spinning: bool
        share_cluster_devices_in_session: bool
        @property
        def session_metadata(self) -> SessionMetadata: ...
        optimize_for_static_graph: bool
        enable_mlir_bridge: bool
        disable_output_partition_graphs: bool
        xla_fusion_autotuner_thresh: int
        enable_mlir_graph_optimization: bool
        mlir_bridge_rollout: int
        use_tfrt: bool
        disable_functional_ops_lowering: bool
        xla_prefer_single_graph_cluster: bool
        @property
        def coordination_config(self) -> CoordinationServiceConfig: ...
        disable_optimize_for_static_graph: bool
        disable_eager_executor_streaming_enqueue: bool
        enable_multi_host: bool
        backend_server_port: int
        target_tpu: bool
        target_gpu: bool
        stream_merge_threshold: int
        tfrt_use_ifrt: bool
        finalize_function_library_runtime: bool
        finalize_resource_manager: bool
        tf2xla_dump_dir: str
        online_cost_analysis: bool
        def __init__(
            self,
            *,
            collective_group_leader: str = ...,
            executor_type: str = ...,
            recv_buf_max_chunk: int = ...,
            use_numa_affinity: bool = ...,
            collective_deterministic_sequential_execution: bool = ...,
            collective_nccl: bool = ...,
            share_session_state_in_clusterspec_propagation: bool = ...,
            disable_thread_spinning: bool = ...,
            share_cluster_devices_in_session: bool = ...,
            session_metadata: SessionMetadata | None = ...,
            optimize_for_static_graph: bool = ...,
            enable_mlir_bridge: bool = ...,
            disable_output_partition_graphs: bool = ...,
            xla_fusion_autotuner_thresh: int = ...,
            enable_mlir_graph_optimization: bool = ...,
            mlir_bridge_rollout: int = ...,
            use_tfrt: bool = ...,
            disable_functional_ops_lowering: bool = ...,
            xla_prefer_single_graph_cluster: bool = ...,
            coordination_config: CoordinationServiceConfig | None = ...,
            disable_optimize_for_static_graph: bool = ...,
            disable_eager_executor_streaming_enqueue: bool = ...,
            enable_multi_host: bool = ...,
            backend_server_port: int = ...,
            target_tpu: bool = ...,
            target_gpu: bool = ...,
            stream_merge_threshold: int = ...,
            tfrt_use_ifrt: bool = ...,
            finalize_function_library_runtime: bool = ...,
            finalize_resource_manager: bool = ...,
            tf2xla_dump_dir: str = ...,
            online_cost_analysis: bool = ...,
        ) -> None: ...

    @property
    def device_count(self) -> ScalarMap[str, int]: ...
    intra_op_parallelism_threads: int
    placement_period: int
    @property
    def device_filters(self) -> RepeatedScalarFieldContainer[str]: ...
    inter_op_parallelism_threads: int
    @property
    def gpu_options(self) -> GPUOptions: ...
    allow_soft_placement: bool
    log_device_placement: bool
    use_per_session_threads: bool
    @property
    def graph_options(self) -> GraphOptions: ...
    operation_timeout_in_ms: int
    @property
    def session_inter_op_thread_pool(self) -> RepeatedCompositeFieldContainer[ThreadPoolOptionProto]: ...
    @property
    def rpc_options(self) -> RPCOptions: ...
    @property
    def cluster_def(self) -> ClusterDef: ...
    isolate_session_state: bool
    @property
    def experimental(self) -> ConfigProto.Experimental: ...
    share_cluster_devices_in_session: bool
    @property
    def pluggable_device_options(self) -> GPUOptions: ...
    def __init__(
        self,
        *,
        device_count: Mapping[str, int] = ...,
        intra_op_parallelism_threads: int = ...,
        placement_period: int = ...,
        device_filters: Iterable[str] = ...,
        inter_op_parallelism_threads: int = ...,
        gpu_options: GPUOptions | None = ...,
        allow_soft_placement: bool = ...,
        log_device_placement: bool = ...,
        use_per_session_threads: bool = ...,
        graph_options: GraphOptions | None = ...,
        operation_timeout_in_ms: int = ...,
        session_inter_op_thread_pool: Iterable[ThreadPoolOptionProto] = ...,
        rpc_options: RPCOptions | None = ...,
        cluster_def: ClusterDef | None = ...,
        isolate_session_state: bool = ...,
        experimental: ConfigProto.Experimental | None = ...,
        share_cluster_devices_in_session: bool = ...,
        pluggable_device_options: GPUOptions | None = ...,
    ) -> None: ...

@final
class BatchingOptions(Message):
    num_batch_threads: int
    max_batch_size: int
    batch_timeout_micros: int
    @property
    def allowed_batch_sizes(self) -> RepeatedScalarFieldContainer[int]: ...
    max_enqueued_batches: int
    def __init__(
        self,
        *,
        num_batch_threads: int = ...,
        max_batch_size: int = ...,
        batch_timeout_micros: int = ...,
        allowed_batch_sizes: Iterable[int] = ...,
        max_enqueued_batches: int = ...,
    ) -> None: ...

@final
class RunOptions(Message): ...

@final
class RunMetadata(Message): ...

@final
class LogMetadata(Message):
    @property
    def model_spec(self) -> ModelSpec: ...
    @property
    def sampling_config(self) -> SamplingConfig: ...
    @property
    def saved_model_tags(self) -> RepeatedScalarFieldContainer[str]: ...
    timestamp_secs: int
    dc: str
    request_origin: str
    request_criticality: str
    safe_aggregation_privacy_key: int
    def __init__(
        self,
        *,
        model_spec: ModelSpec | None = ...,
        sampling_config: SamplingConfig | None = ...,
        saved_model_tags: Iterable[str] = ...,
        timestamp_secs: int = ...,
        dc: str = ...,
        request_origin: str = ...,
        request_criticality: str = ...,
        safe_aggregation_privacy_key: int = ...,
    ) -> None: ...

@final
class SessionRunRequest(Message):
    @property
    def model_spec(self) -> ModelSpec: ...
    @property
    def feed(self) -> RepeatedCompositeFieldContainer[NamedTensorProto]: ...
    @property
    def fetch(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def target(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def options(self) -> RunOptions: ...
    tensor_name_is_alias: bool
    def __init__(
        self,
        *,
        model_spec: ModelSpec | None = ...,
        feed: Iterable[NamedTensorProto] = ...,
        fetch: Iterable[str] = ...,
        target: Iterable[str] = ...,
        options: RunOptions | None = ...,
        tensor_name_is_alias: bool = ...,
    ) -> None: ...

@final
class SessionRunResponse(Message):
    @property
    def tensor(self) -> RepeatedCompositeFieldContainer[NamedTensorProto]: ...
    @property
    def metadata(self) -> RunMetadata: ...
    @property
    def model_spec(self) -> ModelSpec: ...
    def __init__(
        self,
        *,
        tensor: Iterable[NamedTensorProto] = ...,
        metadata: RunMetadata | None = ...,
        model_spec: ModelSpec | None = ...,
    ) -> None: ...

@final
class ClassifyLog(Message):
    @property
    def request(self) -> ClassificationRequest: ...
    @property
    def response(self) -> ClassificationResponse: ...
    def __init__(
        self,
        *,
        request: ClassificationRequest | None = ...,
        response: ClassificationResponse | None = ...,
    ) -> None: ...

@final
class RegressLog(Message):
    @property
    def request(self) -> RegressionRequest: ...
    @property
    def response(self) -> RegressionResponse: ...
    def __init__(
        self,
        *,
        request: RegressionRequest | None = ...,
        response: RegressionResponse | None = ...,
    ) -> None: ...

@final
class PredictLog(Message):
    @property
    def request(self) -> PredictRequest: ...
    @property
    def response(self) -> PredictResponse: ...
    def __init__(self, *, request: PredictRequest | None = ..., response: PredictResponse | None = ...) -> None: ...

@final
class PredictStreamedLog(Message):
    @property
    def request(self) -> RepeatedCompositeFieldContainer[PredictRequest]: ...
    @property
    def response(self) -> RepeatedCompositeFieldContainer[PredictResponse]: ...
    def __init__(
        self,
        *,
        request: Iterable[PredictRequest] = ...,
        response: Iterable[PredictResponse] = ...,
    ) -> None: ...

@final
class MultiInferenceLog(Message):
    @property
    def request(self) -> MultiInferenceRequest: ...
    @property
    def response(self) -> MultiInferenceResponse: ...
    def __init__(
        self,
        *,
        request: MultiInferenceRequest | None = ...,
        response: MultiInferenceResponse | None = ...,
    ) -> None: ...

@final
class SessionRunLog(Message):
    @property
    def request(self) -> SessionRunRequest: ...
    @property
    def response(self) -> SessionRunResponse: ...
    def __init__(
        self,
        *,
        request: SessionRunRequest | None = ...,
        response: SessionRunResponse | None = ...,
    ) -> None: ...

@final
class PredictionLog(Message):
    @property
    def log_metadata(self) -> LogMetadata: ...
    @property
    def classify_log(self) -> ClassifyLog: ...
    @property
    def regress_log(self) -> RegressLog: ...
    @property
    def multi_inference_log(self) -> MultiInferenceLog: ...
    @property
    def session_run_log(self) -> SessionRunLog: ...
    @property
    def predict_log(self) -> PredictLog: ...
    @property
    def predict_streamed_log(self) -> PredictStreamedLog: ...
    def __init__(
        self,
        *,
        log_metadata: LogMetadata | None = ...,
        classify_log: ClassifyLog | None = ...,
        regress_log: RegressLog | None = ...,
        multi_inference_log: MultiInferenceLog | None = ...,
        session_run_log: SessionRunLog | None = ...,
        predict_log: PredictLog | None = ...,
        predict_streamed_log: PredictStreamedLog | None = ...,
    ) -> None: ...

@final
class StructuredValue(Message):
    @property
    def none_value(self) -> NoneValue: ...
    float64_value: float
    int64_value: int
    string_value: str
    bool_value: bool
    @property
    def tensor_shape_value(self) -> TensorShapeProto: ...
    tensor_dtype_value: int
    @property
    def tensor_spec_value(self) -> TensorSpecProto: ...
    @property
    def type_spec_value(self) -> TypeSpecProto: ...
    @property
    def bounded_tensor_spec_value(self) -> BoundedTensorSpecProto: ...
    @property
    def list_value(self) -> ListValue: ...
    @property
    def tuple_value(self) -> TupleValue: ...
    @property
    def dict_value(self) -> DictValue: ...
    @property
    def named_tuple_value(self) -> NamedTupleValue: ...
    @property
    def tensor_value(self) -> TensorProto: ...
    @property
    def numpy_value(self) -> TensorProto: ...
    def __init__(
        self,
        *,
        none_value: NoneValue | None = ...,
        float64_value: float = ...,
        int64_value: int = ...,
        string_value: str = ...,
        bool_value: bool = ...,
        tensor_shape_value: TensorShapeProto | None = ...,
        tensor_dtype_value: int = ...,
        tensor_spec_value: TensorSpecProto | None = ...,
        type_spec_value: TypeSpecProto | None = ...,
        bounded_tensor_spec_value: BoundedTensorSpecProto | None = ...,
        list_value: ListValue | None = ...,
        tuple_value: TupleValue | None = ...,
        dict_value: DictValue | None = ...,
        named_tuple_value: NamedTupleValue | None = ...,
        tensor_value: TensorProto | None = ...,
        numpy_value: TensorProto | None = ...,
    ) -> None: ...

@final
class NoneValue(Message): ...

@final
class ListValue(Message):
    @property
    def values(self) -> RepeatedCompositeFieldContainer[StructuredValue]: ...
    def __init__(self, *, values: Iterable[StructuredValue] = ...) -> None: ...

@final
class TupleValue(Message):
    @property
    def values(self) -> RepeatedCompositeFieldContainer[StructuredValue]: ...
    def __init__(self, *, values: Iterable[StructuredValue] = ...) -> None: ...

@final
class DictValue(Message):
    @property
    def fields(self) -> MessageMap[str, StructuredValue]: ...
    def __init__(self, *, fields: Mapping[str, StructuredValue] = ...) -> None: ...

@final
class PairValue(Message):
    key: str
    @property
    def value(self) -> StructuredValue: ...
    def __init__(self, *, key: str = ..., value: StructuredValue | None = ...) -> None: ...

@final
class NamedTupleValue(Message):
    name: str
    @property
    def values(self) -> RepeatedCompositeFieldContainer[PairValue]: ...
    def __init__(self, *, name: str = ..., values: Iterable[PairValue] = ...) -> None: ...

@final
class TensorSpecProto(Message):
    name: str
    @property
    def shape(self) -> TensorShapeProto: ...
    dtype: int
    def __init__(self, *, name: str = ..., shape: TensorShapeProto | None = ..., dtype: int = ...) -> None: ...

@final
class BoundedTensorSpecProto(Message):
    name: str
    @property
    def shape(self) -> TensorShapeProto: ...
    dtype: int
    @property
    def minimum(self) -> TensorProto: ...
    @property
    def maximum(self) -> TensorProto: ...
    def __init__(
        self,
        *,
        name: str = ...,
        shape: TensorShapeProto | None = ...,
        dtype: int = ...,
        minimum: TensorProto | None = ...,
        maximum: TensorProto | None = ...,
    ) -> None: ...

@final
class TypeSpecProto(Message):
    TypeSpecClass: ClassVar[EnumTypeWrapper]
    UNKNOWN: ClassVar[int]
    SPARSE_TENSOR_SPEC: ClassVar[int]
    INDEXED_SLICES_SPEC: ClassVar[int]
    RAGGED_TENSOR_SPEC: ClassVar[int]
    TENSOR_ARRAY_SPEC: ClassVar[int]
    DATA_DATASET_SPEC: ClassVar[int]
    DATA_ITERATOR_SPEC: ClassVar[int]
    OPTIONAL_SPEC: ClassVar[int]
    PER_REPLICA_SPEC: ClassVar[int]
    VARIABLE_SPEC: ClassVar[int]
    ROW_PARTITION_SPEC: ClassVar[int]
    REGISTERED_TYPE_SPEC: ClassVar[int]
    EXTENSION_TYPE_SPEC: ClassVar[int]
    type_spec_class: int
    @property
    def type_state(self) -> StructuredValue: ...
    type_spec_class_name: str
    num_flat_components: int
    def __init__(
        self,
        *,
        type_spec_class: int = ...,
        type_state: StructuredValue | None = ...,
        type_spec_class_name: str = ...,
        num_flat_components: int = ...,
    ) -> None: ...

@final
class SavedModel(Message):
    saved_model_schema_version: int
    @property
    def meta_graphs(self) -> RepeatedCompositeFieldContainer[MetaGraphDef]: ...
    def __init__(self, *, saved_model_schema_version: int = ..., meta_graphs: Iterable[MetaGraphDef] = ...) -> None: ...

@final
class MetaGraphDef(Message):
    @final
    class MetaInfoDef(Message):
        meta_graph_version: str
        @property
        def any_info(self) -> AnyMessage: ...
        @property
        def tags(self) -> RepeatedScalarFieldContainer[str]: ...
        tensorflow_version: str
        tensorflow_git_version: str
        stripped_default_attrs: bool
        @property
        def function_aliases(self) -> ScalarMap[str, str]: ...
        def __init__(
            self,
            *,
            meta_graph_version: str = ...,
            any_info: AnyMessage | None = ...,
            tags: Iterable[str] = ...,
            tensorflow_version: str = ...,
            tensorflow_git_version: str = ...,
            stripped_default_attrs: bool = ...,
            function_aliases: Mapping[str, str] = ...,
        ) -> None: ...

    @property
    def meta_info_def(self) -> MetaGraphDef.MetaInfoDef: ...
    @property
    def collection_def(self) -> MessageMap[str, CollectionDef]: ...
    @property
    def signature_def(self) -> MessageMap[str, SignatureDef]: ...
    @property
    def asset_file_def(self) -> RepeatedCompositeFieldContainer[AssetFileDef]: ...
    def __init__(
        self,
        *,
        meta_info_def: MetaGraphDef.MetaInfoDef | None = ...,
        collection_def: Mapping[str, CollectionDef] = ...,
        signature_def: Mapping[str, SignatureDef] = ...,
        asset_file_def: Iterable[AssetFileDef] = ...,
    ) -> None: ...

@final
class CollectionDef(Message):
    @final
    class NodeList(Message):
        @property
        def value(self) -> RepeatedScalarFieldContainer[str]: ...
        def __init__(self, *, value: Iterable[str] = ...) -> None: ...

    @final
    class BytesList(Message):
        @property
        def value(self) -> RepeatedScalarFieldContainer[bytes]: ...
        def __init__(self, *, value: Iterable[bytes] = ...) -> None: ...

    @final
    class Int64List(Message):
        @property
        def value(self) -> RepeatedScalarFieldContainer[int]: ...
        def __init__(self, *, value: Iterable[int] = ...) -> None: ...

    @final
    class FloatList(Message):
        @property
        def value(self) -> RepeatedScalarFieldContainer[float]: ...
        def __init__(self, *, value: Iterable[float] = ...) -> None: ...

    @final
    class AnyList(Message):
        @property
        def value(self) -> RepeatedCompositeFieldContainer[AnyMessage]: ...
        def __init__(self, *, value: Iterable[AnyMessage] = ...) -> None: ...

    @property
    def node_list(self) -> CollectionDef.NodeList: ...
    @property
    def bytes_list(self) -> CollectionDef.BytesList: ...
    @property
    def int64_list(self) -> CollectionDef.Int64List: ...
    @property
    def float_list(self) -> CollectionDef.FloatList: ...
    @property
    def any_list(self) -> CollectionDef.AnyList: ...
    def __init__(
        self,
        *,
        node_list: CollectionDef.NodeList | None = ...,
        bytes_list: CollectionDef.BytesList | None = ...,
        int64_list: CollectionDef.Int64List | None = ...,
        float_list: CollectionDef.FloatList | None = ...,
        any_list: CollectionDef.AnyList | None = ...,
    ) -> None: ...

@final
class TensorInfo(Message):
    @final
    class CooSparse(Message):
        values_tensor_name: str
        indices_tensor_name: str
        dense_shape_tensor_name: str
        def __init__(
            self,
            *,
            values_tensor_name: str = ...,
            indices_tensor_name: str = ...,
            dense_shape_tensor_name: str = ...,
        ) -> None: ...

    @final
    class CompositeTensor(Message):
        @property
        def type_spec(self) -> TypeSpecProto: ...
        @property
        def components(self) -> RepeatedCompositeFieldContainer[TensorInfo]: ...
        def __init__(
            self,
            *,
            type_spec: TypeSpecProto | None = ...,
            components: Iterable[TensorInfo] = ...,
        ) -> None: ...

    name: str
    dtype: int
    @property
    def tensor_shape(self) -> TensorShapeProto: ...
    @property
    def coo_sparse(self) -> TensorInfo.CooSparse: ...
    @property
    def composite_tensor(self) -> TensorInfo.CompositeTensor: ...
    def __init__(
        self,
        *,
        name: str = ...,
        dtype: int = ...,
        tensor_shape: TensorShapeProto | None = ...,
        coo_sparse: TensorInfo.CooSparse | None = ...,
        composite_tensor: TensorInfo.CompositeTensor | None = ...,
    ) -> None: ...

@final
class SignatureDef(Message):
    @property
    def inputs(self) -> MessageMap[str, TensorInfo]: ...
    @property
    def outputs(self) -> MessageMap[str, TensorInfo]: ...
    method_name: str
    @property
    def defaults(self) -> MessageMap[str, TensorProto]: ...
    def __init__(
        self,
        *,
        inputs: Mapping[str, TensorInfo] = ...,
        outputs: Mapping[str, TensorInfo] = ...,
        method_name: str = ...,
        defaults: Mapping[str, TensorProto] = ...,
    ) -> None: ...

@final
class AssetFileDef(Message):
    @property
    def tensor_info(self) -> TensorInfo: ...
    filename: str
    def __init__(self, *, tensor_info: TensorInfo | None = ..., filename: str = ...) -> None: ...

@final
class SignatureDefMap(Message):
    @property
    def signature_def(self) -> MessageMap[str, SignatureDef]: ...
    def __init__(self, *, signature_def: Mapping[str, SignatureDef] = ...) -> None: ...

@final
class GetModelMetadataRequest(Message):
    @property
    def model_spec(self) -> ModelSpec: ...
    @property
    def metadata_field(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(self, *, model_spec: ModelSpec | None = ..., metadata_field: Iterable[str] = ...) -> None: ...

@final
class GetModelMetadataResponse(Message):
    @property
    def model_spec(self) -> ModelSpec: ...
    @property
    def metadata(self) -> MessageMap[str, AnyMessage]: ...
    def __init__(self, *, model_spec: ModelSpec | None = ..., metadata: Mapping[str, AnyMessage] = ...) -> None: ...

@final
class ServerReflectionRequest(Message):
    host: str
    file_by_filename: str
    file_containing_symbol: str
    @property
    def file_containing_extension(self) -> ExtensionRequest: ...
    all_extension_numbers_of_type: str
    list_services: str
    def __init__(
        self,
        *,
        host: str = ...,
        file_by_filename: str = ...,
        file_containing_symbol: str = ...,
        file_containing_extension: ExtensionRequest | None = ...,
        all_extension_numbers_of_type: str = ...,
        list_services: str = ...,
    ) -> None: ...

@final
class ExtensionRequest(Message):
    containing_type: str
    extension_number: int
    def __init__(self, *, containing_type: str = ..., extension_number: int = ...) -> None: ...

@final
class ServerReflectionResponse(Message):
    valid_host: str
    @property
    def original_request(self) -> ServerReflectionRequest: ...
    @property
    def file_descriptor_response(self) -> FileDescriptorResponse: ...
    @property
    def all_extension_numbers_response(self) -> ExtensionNumberResponse: ...
    @property
    def list_services_response(self) -> ListServiceResponse: ...
    @property
    def error_response(self) -> ErrorResponse: ...
    def __init__(
        self,
        *,
        valid_host: str = ...,
        original_request: ServerReflectionRequest | None = ...,
        file_descriptor_response: FileDescriptorResponse | None = ...,
        all_extension_numbers_response: ExtensionNumberResponse | None = ...,
        list_services_response: ListServiceResponse | None = ...,
        error_response: ErrorResponse | None = ...,
    ) -> None: ...

@final
class FileDescriptorResponse(Message):
    @property
    def file_descriptor_proto(self) -> RepeatedScalarFieldContainer[bytes]: ...
    def __init__(self, *, file_descriptor_proto: Iterable[bytes] = ...) -> None: ...

@final
class ExtensionNumberResponse(Message):
    base_type_name: str
    @property
    def extension_number(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(self, *, base_type_name: str = ..., extension_number: Iterable[int] = ...) -> None: ...

@final
class ListServiceResponse(Message):
    @property
    def service(self) -> RepeatedCompositeFieldContainer[ServiceResponse]: ...
    def __init__(self, *, service: Iterable[ServiceResponse] = ...) -> None: ...

@final
class ServiceResponse(Message):
    name: str
    def __init__(self, *, name: str = ...) -> None: ...

@final
class ErrorResponse(Message):
    error_code: int
    error_message: str
    def __init__(self, *, error_code: int = ..., error_message: str = ...) -> None: ...

@final
class PrometheusConfig(Message):
    enable: bool
    path: str
    def __init__(self, *, enable: bool = ..., path: str = ...) -> None: ...

@final
class MonitoringConfig(Message):
    @property
    def prometheus_config(self) -> PrometheusConfig: ...
    def __init__(self, *, prometheus_config: PrometheusConfig | None = ...) -> None: ...

@final
class SSLConfig(Message):
    server_key: str
    server_cert: str
    custom_ca: str
    client_verify: bool
    def __init__(
        self,
        *,
        server_key: str = ...,
        server_cert: str = ...,
        custom_ca: str = ...,
        client_verify: bool = ...,
    ) -> None: ...

@final
class BatchingParameters(Message):
    @property
    def max_batch_size(self) -> Int64Value: ...
    @property
    def batch_timeout_micros(self) -> Int64Value: ...
    @property
    def max_enqueued_batches(self) -> Int64Value: ...
    @property
    def num_batch_threads(self) -> Int64Value: ...
    @property
    def thread_pool_name(self) -> StringValue: ...
    @property
    def allowed_batch_sizes(self) -> RepeatedScalarFieldContainer[int]: ...
    pad_variable_length_inputs: bool
    @property
    def enable_large_batch_splitting(self) -> BoolValue: ...
    @property
    def max_execution_batch_size(self) -> Int64Value: ...
    pad_value: float
    def __init__(
        self,
        *,
        max_batch_size: Int64Value | None = ...,
        batch_timeout_micros: Int64Value | None = ...,
        max_enqueued_batches: Int64Value | None = ...,
        num_batch_threads: Int64Value | None = ...,
        thread_pool_name: StringValue | None = ...,
        allowed_batch_sizes: Iterable[int] = ...,
        pad_variable_length_inputs: bool = ...,
        enable_large_batch_splitting: BoolValue | None = ...,
        max_execution_batch_size: Int64Value | None = ...,
        pad_value: float = ...,
    ) -> None: ...

@final
class ModelWarmupOptions(Message):
    @property
    def num_request_iterations(self) -> Int32Value: ...
    @property
    def num_model_warmup_threads(self) -> Int32Value: ...
    model_name: str
    model_version: int
    enable_all_batch_sizes_warmup: bool
    def __init__(
        self,
        *,
        num_request_iterations: Int32Value | None = ...,
        num_model_warmup_threads: Int32Value | None = ...,
        model_name: str = ...,
        model_version: int = ...,
        enable_all_batch_sizes_warmup: bool = ...,
    ) -> None: ...

@final
class SessionBundleConfig(Message):
    session_target: str
    @property
    def session_config(self) -> ConfigProto: ...
    @property
    def batching_parameters(self) -> BatchingParameters: ...
    @property
    def session_run_load_threadpool_index(self) -> Int32Value: ...
    experimental_transient_ram_bytes_during_load: int
    @property
    def saved_model_tags(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def in_graph_batching_parameters(self) -> BatchingOptions: ...
    @property
    def experimental_fixed_input_tensors(self) -> RepeatedCompositeFieldContainer[NamedTensorProto]: ...
    enable_model_warmup: bool
    @property
    def model_warmup_options(self) -> ModelWarmupOptions: ...
    enable_session_metadata: bool
    remove_unused_fields_from_bundle_metagraph: bool
    prefer_tflite_model: bool
    resource_estimation_uses_validation_result: bool
    num_tflite_interpreters: int
    num_tflite_interpreters_per_pool: int
    num_tflite_pools: int
    wrap_session_with_no_threading_params: bool
    enable_per_model_batching_params: bool
    enable_saved_model_config: bool
    mixed_precision: str
    def __init__(
        self,
        *,
        session_target: str = ...,
        session_config: ConfigProto | None = ...,
        batching_parameters: BatchingParameters | None = ...,
        session_run_load_threadpool_index: Int32Value | None = ...,
        experimental_transient_ram_bytes_during_load: int = ...,
        saved_model_tags: Iterable[str] = ...,
        in_graph_batching_parameters: BatchingOptions | None = ...,
        experimental_fixed_input_tensors: Iterable[NamedTensorProto] = ...,
        enable_model_warmup: bool = ...,
        model_warmup_options: ModelWarmupOptions | None = ...,
        enable_session_metadata: bool = ...,
        remove_unused_fields_from_bundle_metagraph: bool = ...,
        prefer_tflite_model: bool = ...,
        resource_estimation_uses_validation_result: bool = ...,
        num_tflite_interpreters: int = ...,
        num_tflite_interpreters_per_pool: int = ...,
        num_tflite_pools: int = ...,
        wrap_session_with_no_threading_params: bool = ...,
        enable_per_model_batching_params: bool = ...,
        enable_saved_model_config: bool = ...,
        mixed_precision: str = ...,
    ) -> None: ...

@final
class SavedModelBundleSourceAdapterConfig(Message):
    @property
    def legacy_config(self) -> SessionBundleConfig: ...
    def __init__(self, *, legacy_config: SessionBundleConfig | None = ...) -> None: ...

@final
class PlatformConfig(Message):
    @property
    def source_adapter_config(self) -> AnyMessage: ...
    def __init__(self, *, source_adapter_config: AnyMessage | None = ...) -> None: ...

@final
class PlatformConfigMap(Message):
    @property
    def platform_configs(self) -> MessageMap[str, PlatformConfig]: ...
    def __init__(self, *, platform_configs: Mapping[str, PlatformConfig] = ...) -> None: ...

@final
class ThreadPoolFactoryConfig(Message):
    @property
    def thread_pool_factory_config(self) -> AnyMessage: ...
    def __init__(self, *, thread_pool_factory_config: AnyMessage | None = ...) -> None: ...

@final
class SessionOverrides(Message):
    remote_op_remap_config: bytes
    batch_op_rewriter_config: bytes
    disable_meta_optimizer: bool
    def __init__(
        self,
        *,
        remote_op_remap_config: bytes = ...,
        batch_op_rewriter_config: bytes = ...,
        disable_meta_optimizer: bool = ...,
    ) -> None: ...

@final
class SavedModelConfig(Message):
    @property
    def session_overrides(self) -> SessionOverrides: ...
    tfrt_runtime_config: bytes
    critical: bool
    def __init__(
        self,
        *,
        session_overrides: SessionOverrides | None = ...,
        tfrt_runtime_config: bytes = ...,
        critical: bool = ...,
    ) -> None: ...
