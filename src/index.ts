export { Command, pipeline, PreparedCommand } from './command.js';
export type {
  CaptureOptions,
  FileOptions,
  Limit,
  PassOptions,
  Path,
  TerminalOptions,
  TeeOptions,
  TreeOptions,
} from './builder/options.js';
export type { AnyCommand, AsDaemon, ChildOf, JsonLineOptions, MatchOptions, ResultOf, SpecOf } from './command.js';
export type {
  CapturedOf,
  CommandKind,
  HasExitCode,
  HasStderr,
  HasStdin,
  HasStdout,
  HasTerminal,
  Output,
  StreamOf,
} from './result/chain.js';
export { Pipeline } from './pipeline/pipeline.js';
export type { PipelineChildOf, PipelineResultOf } from './pipeline/pipeline.js';
export { PipelineChild } from './pipeline/pipeline-child.js';
export type { HookAnswer, HookChild, PreExecHook } from './hook/function.js';
export { Child } from './running/child.js';
export type { StopOptions, WaitForLineOptions } from './running/child.js';
export { pidAbort, pidWait } from './running/known-children.js';
export type { Check, NoOptions, WaitOptions } from './builder/wait-options.js';
export { Descriptor, PipePair, SocketPair, Tap, TcpListener, UnixListener } from './io/descriptor.js';
export type { DescriptorLike } from './io/owner.js';
export { listenTcp, listenUnix, openTap, pipePair, socketPair } from './io/make-descriptors.js';
export type { ListenOptions } from './io/make-descriptors.js';
export { Terminal } from './terminal/terminal.js';
export type { DestinationOptions, OutputDestination, WebWritable } from './streams/destination.js';
export type { InputChunk, InputSource, WebReadable } from './streams/source.js';
export { OutputBuffer } from './io/output-buffer.js';
export { DaemonResult } from './running/daemon-result.js';
export type { LineEncoding, LineOf, LineOptions, LinesFrom, StreamLine } from './lines/line-options.js';
export type { OnLine } from './lines/line-watch.js';
export type { LinePattern } from './lines/wait-for-line.js';
export type { Columns, LineMatch, Patterns, RowOf } from './lines/patterns.js';
export type { OnItem } from './lines/command-lines.js';
export { RunResult } from './result/run-result.js';
export type { Captured, ResourceUsage, RunResultFields } from './result/run-result.js';
export { PipelineResult } from './result/pipeline-result.js';
export type { PipelineResultFields } from './result/pipeline-result.js';
export { KillTreeResult } from './result/tree-result.js';
export type { KillTreeResultFields } from './result/tree-result.js';
export type { DaemonResultFields } from './running/daemon-result.js';
export { CommandError } from './errors/command-error.js';
export { ExitError } from './errors/exit-error.js';
export { LaunchError } from './errors/launch-error.js';
export { OutputError } from './errors/output-error.js';
export type { OutputFault, OutputReason } from './errors/output-error.js';
export { PidFileError } from './errors/pidfile-error.js';
export { DescriptorError, ProcessError } from './errors/process-error.js';
export { UnsupportedError } from './errors/unsupported-error.js';
export type { Refusal } from './errors/unsupported-error.js';
export { UsageError } from './errors/usage-error.js';
export type { ExitReason } from './errors/exit-error.js';
export type { Mistake } from './errors/usage-error.js';
export { PidFile } from './pidfile/pidfile.js';
export { PidFileLock } from './pidfile/lock.js';
export type { AcquireOptions } from './pidfile/lock.js';
export type { OpenOptions } from './pidfile/open.js';
export type { CleanupOptions } from './pidfile/cleanup.js';
export { killPainfully } from './ending/kill-painfully.js';
export type { KillOptions } from './ending/kill-painfully.js';
export { killTree } from './ending/kill-tree.js';
export { ProcessHandle } from './ending/process-handle.js';
export type { ProcessStopOptions } from './ending/process-handle.js';
export { adoptOrphans } from './ending/adopt-orphans.js';
export type { Adoption, AdoptOptions } from './ending/adopt-orphans.js';
export { engineInfo } from './engine/select.js';
export type { EngineInfo } from './engine/select.js';
export { planLaunch } from './plan/plan-launch.js';
export type { DescriptorSource, PlannedDescriptor } from './plan/descriptors.js';
export type { Lane } from './plan/lane.js';
export type { LaunchPlan, PlanOptions } from './plan/launch-plan.js';
export type { Step } from './plan/step-table.js';
export { thisHost } from './host/host.js';
export type { Account } from './host/accounts.js';
export type { FileKind, Host } from './host/host.js';
export type { StepName } from './text/step-names.js';
export type { Argument, ByteText } from './text/bytes.js';
export type { CapabilityName } from './text/capabilities.js';
export type { SignalName } from './text/signals.js';
export type { PrintOptions } from './text/quote.js';
export type { AdoptedEvent, CommandEvents, ErrorEvent, ExitEvent, LaunchEvent } from './events/events.js';
export type {
  CommandSpec,
  DescriptorSpec,
  HookSpec,
  InputSpec,
  LaunchMode,
  LimitResource,
  LimitSpec,
  LimitValue,
  OutputEncoding,
  OutputLimitPolicy,
  OutputSpec,
  StopSequence,
  TerminalSize,
} from './spec/spec.js';
