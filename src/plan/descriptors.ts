import type { Host } from '../host/host.js';
import { type CommandSpec, FIRST_LISTEN_FD, type LaunchMode, type OutputSpec } from '../spec/spec.js';
import { type ByteText, isSameText } from '../text/bytes.js';
import { absolute } from './program.js';

export function planDescriptors(spec: CommandSpec, mode: LaunchMode, host: Host): readonly PlannedDescriptor[] {
  if (spec.terminal !== undefined) return withOthers(spec, terminals(spec, mode));
  return withOthers(spec, [
    { childFd: 0, source: inputSource(spec, mode, host) },
    { childFd: 1, source: outputSource(spec.stdout, 1, mode, spec, host) },
    { childFd: 2, source: errorSource(spec, mode, host) },
  ]);
}

/** The same open file as each of the standard streams, as login(1) gives it. */
function terminals({ stdout }: CommandSpec, mode: LaunchMode): PlannedDescriptor[] {
  const source: DescriptorSource = {
    kind: 'terminal',
    for: mode === 'async' ? 'caller' : stdout.to === 'buffer' ? 'buffer' : 'log',
  };
  return [0, 1, 2].map((childFd) => ({ childFd, source }));
}

function withOthers(
  { descriptors, listenFds, sendBuffers }: CommandSpec,
  planned: PlannedDescriptor[],
): readonly PlannedDescriptor[] {
  if (descriptors === undefined && listenFds === undefined && sendBuffers === undefined) return planned;
  for (const { fd, as } of descriptors ?? []) planned.push({ childFd: as, source: { kind: 'fd', fd } });
  for (const [index, fd] of (listenFds ?? []).entries())
    planned.push({ childFd: FIRST_LISTEN_FD + index, source: { kind: 'fd', fd } });
  for (const as of sendBuffers ?? []) planned.push({ childFd: as, source: { kind: 'send' } });
  return planned.sort((a, b) => a.childFd - b.childFd);
}

function inputSource({ stdin, inheritTerminal }: CommandSpec, mode: LaunchMode, host: Host): DescriptorSource {
  switch (stdin.from) {
    case 'null':
      return mode === 'exec' || inheritTerminal === true ? { kind: 'fd', fd: 0 } : { kind: 'null' };
    case 'fd':
      return { kind: 'fd', fd: stdin.fd };
    case 'file':
      return { kind: 'file', path: absolute(stdin.path, host), open: 'read' };
    case 'pipe':
      return { kind: 'pipe', for: 'caller' };
    case 'stream':
      return { kind: 'pipe', for: 'flow' };
    case 'buffer':
      return { kind: 'pipe', for: 'buffer' };
  }
}

function outputSource(
  output: OutputSpec,
  childFd: 1 | 2,
  mode: LaunchMode,
  { inheritTerminal, stdoutTee, stderrTee }: CommandSpec,
  host: Host,
): DescriptorSource {
  switch (output.to) {
    case 'unclaimed':
      // What this process writes to is what it leaves to the program in its place.
      if (mode === 'exec' || inheritTerminal === true) return { kind: 'fd', fd: childFd };
      // The reason of a failure is on standard error.
      return mode === 'run' || (mode === 'async' && childFd === 2) ? { kind: 'pipe', for: 'log' } : { kind: 'null' };
    case 'fd':
      return { kind: 'fd', fd: output.fd };
    case 'file':
      return { kind: 'file', path: absolute(output.path, host), open: output.append === true ? 'append' : 'truncate' };
    case 'pipe':
      return { kind: 'pipe', for: 'caller' };
    case 'stream':
      return { kind: 'pipe', for: 'flow' };
    case 'buffer':
      return { kind: 'pipe', for: (childFd === 1 ? stdoutTee : stderrTee) === undefined ? 'buffer' : 'flow' };
  }
}

function errorSource(spec: CommandSpec, mode: LaunchMode, host: Host): DescriptorSource {
  const { stdout, stderr } = spec;
  if (stderr.to === 'stdout') return { kind: 'stdout' };
  // Two openings of one file would write over each other; one that both streams share keeps their order.
  if (
    stderr.to === 'file' &&
    stdout.to === 'file' &&
    isSameText(absolute(stderr.path, host), absolute(stdout.path, host))
  )
    return { kind: 'stdout' };
  return outputSource(stderr, 2, mode, spec, host);
}

/** Where a descriptor of the child comes from. */
export type DescriptorSource =
  | { readonly kind: 'null' }
  | { readonly kind: 'fd'; readonly fd: number }
  | { readonly kind: 'file'; readonly path: ByteText; readonly open: 'read' | 'truncate' | 'append' }
  /** A pipe of which this process keeps the other end: for the caller, for a buffer, or for the log. */
  | { readonly kind: 'pipe'; readonly for: 'caller' | 'buffer' | 'log' }
  /** The same, for a stream of this process, or for a file beside a buffer. */
  | { readonly kind: 'pipe'; readonly for: 'flow' }
  /** In a pipeline, the pipe to a neighbour. Of one that is not played, the engine is given the descriptor in its place: see {@link connect}. */
  | { readonly kind: 'pipe'; readonly for: 'stage' }
  /** What `sendBuffer()` sends: all of it, and then the end. */
  | { readonly kind: 'send' }
  /** A terminal of which this process keeps the other end. It stands at 0, 1 and 2. */
  | { readonly kind: 'terminal'; readonly for: 'caller' | 'buffer' | 'log' }
  /** The same open file as the child's standard output. */
  | { readonly kind: 'stdout' };

/** A descriptor that the child will have. */
export interface PlannedDescriptor {
  readonly childFd: number;
  readonly source: DescriptorSource;
}

/** Which standard streams of a stage lead to its neighbours in a pipeline. */
export interface Joints {
  readonly stdin: boolean;
  readonly stdout: boolean;
}

const JOINT: DescriptorSource = Object.freeze({ kind: 'pipe', for: 'stage' });

/** The descriptors of a stage, whose neighbours take the place of what the command says nothing about. */
export function withJoints(
  planned: readonly PlannedDescriptor[],
  joints: Joints | undefined,
): readonly PlannedDescriptor[] {
  if (joints === undefined) return planned;
  const isJoint = (childFd: number): boolean => (childFd === 0 && joints.stdin) || (childFd === 1 && joints.stdout);
  return planned.map((one) => (isJoint(one.childFd) ? { childFd: one.childFd, source: JOINT } : one));
}

/** Says where a joint of a stage comes from, now that there is a pipe. */
export function connect(planned: readonly PlannedDescriptor[], childFd: 0 | 1, source: DescriptorSource): void {
  (planned as PlannedDescriptor[])[childFd] = { childFd, source };
}
