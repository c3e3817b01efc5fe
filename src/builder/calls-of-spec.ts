import { type Argument, type ByteText, toBytes } from '../text/bytes.js';
import { umasksInDecimal } from './options.js';
import {
  type CommandSpec,
  flags,
  type InputSpec,
  type LimitValue,
  type OutputSpec,
  type TeeSpec,
} from '../spec/spec.js';

/** A call on a command: the name of one of its methods, and what it is given. */
export interface BuilderCall<Method extends string = string> {
  readonly method: Method;
  readonly values: readonly unknown[];
}

/** A value of a spec as the methods take it. */
export function argumentOf(text: ByteText): Argument {
  return typeof text === 'string' ? text : toBytes(text);
}

/** The calls that say what a spec says. To repeat them is to check each value as if a caller had said it. */
export function callsOf(spec: CommandSpec) {
  const secrets = new Set(spec.secretArgs);
  return [
    ...spec.argv.slice(1).map((arg, index) => call(secrets.has(index + 1) ? 'secretArg' : 'arg', argumentOf(arg))),
    ...(spec.env === undefined ? [] : [call('envClear')]),
    ...(spec.env ?? []).map(([name, value]) => call('env', name, argumentOf(value))),
    ...inputCalls(spec.stdin),
    ...outputCalls(spec.stdout),
    ...errorCalls(spec.stderr),
    ...given('terminal', spec.terminal),
    ...teeCalls(spec.stdoutTee, 'stdout'),
    ...teeCalls(spec.stderrTee, 'stderr'),
    ...given('pipeSize', spec.pipeSize),
    ...(spec.descriptors ?? []).map(({ fd, as, closeInParent = false }) => call('passFd', fd, { as, closeInParent })),
    ...(spec.listenFds === undefined ? [] : [call('listenFds', ...spec.listenFds)]),
    ...(spec.limits ?? []).map(({ resource, soft, hard }) => call('limit', resource, limitOf(soft), limitOf(hard))),
    ...(spec.allowCaps ?? []).map((name) => call('allowCap', name)),
    ...givenText('workingDirectory', spec.workingDirectory),
    ...given('umask', umaskOf(spec)),
    ...given('nice', spec.nice),
    ...given('oomScoreAdjust', spec.oomScoreAdjust),
    ...(spec.coreScheduling === 'alone' ? [call('runAlone')] : given('runAmong', spec.coreScheduling?.among)),
    ...givenText('cgroup', spec.cgroup),
    ...given('selinuxLabel', spec.selinuxLabel),
    ...given('appArmorProfile', spec.appArmorProfile),
    ...given('user', spec.user),
    ...given('uid', spec.uid),
    ...given('gid', spec.gid),
    ...given('groups', spec.groups),
    ...given('dieWithParent', spec.dieWithParent),
    ...givenText('pidFile', spec.pidFile),
    ...given('check', spec.check),
    ...(spec.timeoutMs === undefined && spec.timeoutTree === undefined ? [] : [timeoutCall(spec)]),
    ...given('silenceTimeout', spec.silenceTimeoutMs),
    ...given('stopSequence', spec.stopSequence),
    ...(spec.outputLimit === undefined ? [] : [limitCall(spec.outputLimit)]),
    ...flags.filter((flag) => spec[flag] === true).map((flag) => call(flag)),
    ...(spec.handshake === true ? [call('requireHandshake')] : []),
  ];
}

/** What is said together with a value, where it is said at all. */
const withTree = (tree: true | undefined): readonly unknown[] => (tree === undefined ? [] : [{ tree }]);

const timeoutCall = ({ timeoutMs, timeoutTree }: CommandSpec): BuilderCall<'timeout'> =>
  call('timeout', timeoutMs, ...withTree(timeoutTree));

const limitCall = ({ bytes, policy, tree }: NonNullable<CommandSpec['outputLimit']>): BuilderCall<'outputLimit'> =>
  call('outputLimit', bytes, policy, ...withTree(tree));

/** A mask that a person may have mistaken was none when it came into the spec. */
const umaskOf = ({ umask }: CommandSpec): number | string | undefined =>
  umask !== undefined && umasksInDecimal.includes(umask) ? `0o${umask.toString(8)}` : umask;

function inputCalls(stdin: InputSpec) {
  switch (stdin.from) {
    case 'null':
      return [];
    case 'fd':
      return [
        stdin.closeInParent === true
          ? call('passFd', stdin.fd, { as: 0, closeInParent: true })
          : call('inputFd', stdin.fd),
      ];
    case 'file':
      return [call('inputFile', argumentOf(stdin.path))];
    case 'pipe':
      return [call('inputPipe')];
    // It is no data, and has to be said again.
    case 'stream':
      return [];
    case 'buffer':
      return [call('inputBuffer', argumentOf(stdin.data))];
  }
}

function outputCalls(output: OutputSpec) {
  switch (output.to) {
    case 'unclaimed':
      return [];
    case 'fd':
      return [
        output.closeInParent === true
          ? call('passFd', output.fd, { as: 1, closeInParent: true })
          : call('outputFd', output.fd),
      ];
    case 'file':
      return [call('outputFile', argumentOf(output.path), { append: output.append ?? false })];
    case 'pipe':
      return [call('outputPipe')];
    case 'stream':
      return [];
    case 'buffer':
      return [call('outputBuffer', captureOptions(output))];
  }
}

function errorCalls(output: CommandSpec['stderr']) {
  switch (output.to) {
    case 'unclaimed':
      return [];
    case 'stdout':
      return [call('errorToOutput')];
    case 'fd':
      return [
        output.closeInParent === true
          ? call('passFd', output.fd, { as: 2, closeInParent: true })
          : call('errorFd', output.fd),
      ];
    case 'file':
      return [call('errorFile', argumentOf(output.path), { append: output.append ?? false })];
    case 'pipe':
      return [call('errorPipe')];
    case 'stream':
      return [];
    case 'buffer':
      return [call('errorBuffer', captureOptions(output))];
  }
}

const captureOptions = ({ encoding, fatal, stripFinalNewline }: Extract<OutputSpec, { to: 'buffer' }>): object => ({
  encoding,
  ...(fatal === undefined ? {} : { fatal }),
  ...(stripFinalNewline === undefined ? {} : { stripFinalNewline }),
});

const teeCalls = (tee: TeeSpec | undefined, from: 'stdout' | 'stderr'): BuilderCall<'tee'>[] =>
  tee === undefined ? [] : [call('tee', argumentOf(tee.path), { append: tee.append ?? false, from })];

function call<Method extends string>(method: Method, ...values: readonly unknown[]): BuilderCall<Method> {
  return { method, values };
}

/** The call that gives a value, if there is one. */
function given<Method extends string>(method: Method, value: unknown): BuilderCall<Method>[] {
  return value === undefined ? [] : [call(method, value)];
}

const givenText = <Method extends string>(method: Method, text: ByteText | undefined): BuilderCall<Method>[] =>
  text === undefined ? [] : [call(method, argumentOf(text))];

const limitOf = (value: LimitValue): number | bigint | string =>
  typeof value === 'string' && value !== 'unlimited' ? BigInt(value) : value;
