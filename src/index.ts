export { Command } from './command.js';
export type { CaptureOptions, FileOptions, HasStderr, HasStdout, IsDaemon, Limit, PassOptions, ResultOf } from './command.js';
export type { HookAnswer, HookChild, PreExecHook } from './hook.js';
export { Child, pidAbort, pidWait } from './child.js';
export type { WaitOptions } from './outcome.js';
export { OutputBuffer } from './output.js';
export { DaemonResult, RunResult } from './result.js';
export type { Captured, DaemonResultFields, ResourceUsage, RunResultFields } from './result.js';
export { CommandError, ExitError, LaunchError, PidFileError, UnsupportedError, UsageError } from './errors.js';
export type { ExitReason, Mistake } from './errors.js';
export { PidFile } from './pidfile.js';
export { PidFileLock } from './pidfile-lock.js';
export type { AcquireOptions } from './pidfile-lock.js';
export type { CleanupOptions } from './pidfile-cleanup.js';
export { killPainfully } from './kill.js';
export type { KillOptions } from './kill.js';
export { killTree } from './kill-tree.js';
export type { KillTreeResult } from './kill-tree.js';
export { adoptOrphans } from './subreaper.js';
export type { Adoption, AdoptOptions } from './subreaper.js';
export { engineInfo } from './engine/select.js';
export type { EngineInfo } from './engine/select.js';
export { planLaunch } from './plan.js';
export type { DescriptorSource, Lane, LaunchPlan, PlannedDescriptor, PlanOptions, Step } from './plan.js';
export { thisHost } from './host.js';
export type { Account, FileKind, Host } from './host.js';
export type { StepName } from './steps.js';
export type { Argument, ByteText } from './bytes.js';
export type { CapabilityName } from './capabilities.js';
export type { SignalName } from './signals.js';
export type { PrintOptions } from './quote.js';
export type { AdoptedEvent, ErrorEvent, ExitEvent, LaunchEvent } from './events.js';
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
} from './spec.js';
