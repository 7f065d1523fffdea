"""The message classes, under their own names: `messages.PredictRequest`, `messages.ModelServerConfig`.

They are wire-compatible with those of TensorFlow and TensorFlow Serving that have the same name, and separate from
them: see `hotserve.protos.pool`. Fields and numbers are in the .proto files beside this one; their types are in
`messages.pyi`, which scripts/compile_protos.py writes.
"""

from __future__ import annotations

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from hotserve.protos.pool import POOL, message_class

# Well-known types. A request's `Any` must be this one: the one of google.protobuf.any_pb2 is of another pool.
AnyMessage = message_class("google.protobuf.Any")
BoolValue = message_class("google.protobuf.BoolValue")
Int32Value = message_class("google.protobuf.Int32Value")
Int64Value = message_class("google.protobuf.Int64Value")
StringValue = message_class("google.protobuf.StringValue")

# Enums that are not part of a message: `DataType.Name(101)` is "DT_FLOAT_REF".
DataType = EnumTypeWrapper(POOL.FindEnumTypeByName("tensorflow.DataType"))
ErrorCode = EnumTypeWrapper(POOL.FindEnumTypeByName("tensorflow.error.Code"))
ModelType = EnumTypeWrapper(POOL.FindEnumTypeByName("tensorflow.serving.ModelType"))

# Tensors: tensor.proto
TensorShapeProto = message_class("tensorflow.TensorShapeProto")
TensorProto = message_class("tensorflow.TensorProto")
VariantTensorDataProto = message_class("tensorflow.VariantTensorDataProto")
ResourceHandleProto = message_class("tensorflow.ResourceHandleProto")
NamedTensorProto = message_class("tensorflow.NamedTensorProto")

# Examples: example.proto
BytesList = message_class("tensorflow.BytesList")
FloatList = message_class("tensorflow.FloatList")
Int64List = message_class("tensorflow.Int64List")
Feature = message_class("tensorflow.Feature")
Features = message_class("tensorflow.Features")
FeatureList = message_class("tensorflow.FeatureList")
FeatureLists = message_class("tensorflow.FeatureLists")
Example = message_class("tensorflow.Example")
SequenceExample = message_class("tensorflow.SequenceExample")

# Types of composite tensors: type_spec.proto
StructuredValue = message_class("tensorflow.StructuredValue")
NoneValue = message_class("tensorflow.NoneValue")
ListValue = message_class("tensorflow.ListValue")
TupleValue = message_class("tensorflow.TupleValue")
DictValue = message_class("tensorflow.DictValue")
PairValue = message_class("tensorflow.PairValue")
NamedTupleValue = message_class("tensorflow.NamedTupleValue")
TensorSpecProto = message_class("tensorflow.TensorSpecProto")
BoundedTensorSpecProto = message_class("tensorflow.BoundedTensorSpecProto")
TypeSpecProto = message_class("tensorflow.TypeSpecProto")

# SavedModel: saved_model.proto
SavedModel = message_class("tensorflow.SavedModel")
MetaGraphDef = message_class("tensorflow.MetaGraphDef")
CollectionDef = message_class("tensorflow.CollectionDef")
TensorInfo = message_class("tensorflow.TensorInfo")
SignatureDef = message_class("tensorflow.SignatureDef")
AssetFileDef = message_class("tensorflow.AssetFileDef")

# Graphs: graph.proto
NodeDef = message_class("tensorflow.NodeDef")
OpDef = message_class("tensorflow.OpDef")
FunctionDef = message_class("tensorflow.FunctionDef")
FunctionDefLibrary = message_class("tensorflow.FunctionDefLibrary")
GraphDef = message_class("tensorflow.GraphDef")

# Options of TensorFlow's optimizer of graphs: rewriter.proto
AttrValue = message_class("tensorflow.AttrValue")
NameAttrList = message_class("tensorflow.NameAttrList")
VerifierConfig = message_class("tensorflow.VerifierConfig")
AutoParallelOptions = message_class("tensorflow.AutoParallelOptions")
ScopedAllocatorOptions = message_class("tensorflow.ScopedAllocatorOptions")
RewriterConfig = message_class("tensorflow.RewriterConfig")

# TensorFlow's own options: session.proto
GPUOptions = message_class("tensorflow.GPUOptions")
OptimizerOptions = message_class("tensorflow.OptimizerOptions")
GraphOptions = message_class("tensorflow.GraphOptions")
ThreadPoolOptionProto = message_class("tensorflow.ThreadPoolOptionProto")
SessionMetadata = message_class("tensorflow.SessionMetadata")
RPCOptions = message_class("tensorflow.RPCOptions")
JobDef = message_class("tensorflow.JobDef")
ClusterDef = message_class("tensorflow.ClusterDef")
CoordinatedJob = message_class("tensorflow.CoordinatedJob")
CoordinationServiceConfig = message_class("tensorflow.CoordinationServiceConfig")
ConfigProto = message_class("tensorflow.ConfigProto")
BatchingOptions = message_class("tensorflow.BatchingOptions")
RunOptions = message_class("tensorflow.RunOptions")
RunMetadata = message_class("tensorflow.RunMetadata")

# Predict: predict.proto
ModelSpec = message_class("tensorflow.serving.ModelSpec")
PredictRequest = message_class("tensorflow.serving.PredictRequest")
PredictStreamedOptions = message_class("tensorflow.serving.PredictStreamedOptions")
PredictResponse = message_class("tensorflow.serving.PredictResponse")

# Classify, Regress, MultiInference: inference.proto
ExampleList = message_class("tensorflow.serving.ExampleList")
ExampleListWithContext = message_class("tensorflow.serving.ExampleListWithContext")
Input = message_class("tensorflow.serving.Input")
Class = message_class("tensorflow.serving.Class")
Classifications = message_class("tensorflow.serving.Classifications")
ClassificationResult = message_class("tensorflow.serving.ClassificationResult")
ClassificationRequest = message_class("tensorflow.serving.ClassificationRequest")
ClassificationResponse = message_class("tensorflow.serving.ClassificationResponse")
Regression = message_class("tensorflow.serving.Regression")
RegressionResult = message_class("tensorflow.serving.RegressionResult")
RegressionRequest = message_class("tensorflow.serving.RegressionRequest")
RegressionResponse = message_class("tensorflow.serving.RegressionResponse")
InferenceTask = message_class("tensorflow.serving.InferenceTask")
InferenceResult = message_class("tensorflow.serving.InferenceResult")
MultiInferenceRequest = message_class("tensorflow.serving.MultiInferenceRequest")
MultiInferenceResponse = message_class("tensorflow.serving.MultiInferenceResponse")

# Metadata: prediction_service.proto
SignatureDefMap = message_class("tensorflow.serving.SignatureDefMap")
GetModelMetadataRequest = message_class("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = message_class("tensorflow.serving.GetModelMetadataResponse")

# Status and reload: model_service.proto
StatusProto = message_class("tensorflow.serving.StatusProto")
GetModelStatusRequest = message_class("tensorflow.serving.GetModelStatusRequest")
ModelVersionStatus = message_class("tensorflow.serving.ModelVersionStatus")
GetModelStatusResponse = message_class("tensorflow.serving.GetModelStatusResponse")
ReloadConfigRequest = message_class("tensorflow.serving.ReloadConfigRequest")
Metric = message_class("tensorflow.serving.Metric")
ReloadConfigResponse = message_class("tensorflow.serving.ReloadConfigResponse")

# The model config file: model_config.proto
FileSystemStoragePathSourceConfig = message_class("tensorflow.serving.FileSystemStoragePathSourceConfig")
LogCollectorConfig = message_class("tensorflow.serving.LogCollectorConfig")
PerTaskSamplingConfig = message_class("tensorflow.serving.PerTaskSamplingConfig")
SamplingConfig = message_class("tensorflow.serving.SamplingConfig")
LoggingConfig = message_class("tensorflow.serving.LoggingConfig")
ModelConfig = message_class("tensorflow.serving.ModelConfig")
ModelConfigList = message_class("tensorflow.serving.ModelConfigList")
ModelServerConfig = message_class("tensorflow.serving.ModelServerConfig")

# Other config files: server_config.proto
PrometheusConfig = message_class("tensorflow.serving.PrometheusConfig")
MonitoringConfig = message_class("tensorflow.serving.MonitoringConfig")
SSLConfig = message_class("tensorflow.serving.SSLConfig")
BatchingParameters = message_class("tensorflow.serving.BatchingParameters")
ModelWarmupOptions = message_class("tensorflow.serving.ModelWarmupOptions")
SessionBundleConfig = message_class("tensorflow.serving.SessionBundleConfig")
SavedModelBundleSourceAdapterConfig = message_class("tensorflow.serving.SavedModelBundleSourceAdapterConfig")
PlatformConfig = message_class("tensorflow.serving.PlatformConfig")
PlatformConfigMap = message_class("tensorflow.serving.PlatformConfigMap")
ThreadPoolFactoryConfig = message_class("tensorflow.serving.ThreadPoolFactoryConfig")
SessionOverrides = message_class("tensorflow.serving.SessionOverrides")
SavedModelConfig = message_class("tensorflow.serving.SavedModelConfig")

# Recorded requests: prediction_log.proto
LogMetadata = message_class("tensorflow.serving.LogMetadata")
SessionRunRequest = message_class("tensorflow.serving.SessionRunRequest")
SessionRunResponse = message_class("tensorflow.serving.SessionRunResponse")
ClassifyLog = message_class("tensorflow.serving.ClassifyLog")
RegressLog = message_class("tensorflow.serving.RegressLog")
PredictLog = message_class("tensorflow.serving.PredictLog")
PredictStreamedLog = message_class("tensorflow.serving.PredictStreamedLog")
MultiInferenceLog = message_class("tensorflow.serving.MultiInferenceLog")
SessionRunLog = message_class("tensorflow.serving.SessionRunLog")
PredictionLog = message_class("tensorflow.serving.PredictionLog")

# Health: health.proto
HealthCheckRequest = message_class("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message_class("grpc.health.v1.HealthCheckResponse")

# Reflection: reflection.proto
ServerReflectionRequest = message_class("grpc.reflection.v1alpha.ServerReflectionRequest")
ExtensionRequest = message_class("grpc.reflection.v1alpha.ExtensionRequest")
ServerReflectionResponse = message_class("grpc.reflection.v1alpha.ServerReflectionResponse")
FileDescriptorResponse = message_class("grpc.reflection.v1alpha.FileDescriptorResponse")
ExtensionNumberResponse = message_class("grpc.reflection.v1alpha.ExtensionNumberResponse")
ListServiceResponse = message_class("grpc.reflection.v1alpha.ListServiceResponse")
ServiceResponse = message_class("grpc.reflection.v1alpha.ServiceResponse")
ErrorResponse = message_class("grpc.reflection.v1alpha.ErrorResponse")
