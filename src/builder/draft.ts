import { Buffer } from 'node:buffer';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import type { Mistake } from '../errors/usage-error.js';
import {
  type CommandSpec,
  type DescriptorSpec,
  type LimitResource,
  limitResources,
  type LimitSpec,
  type LimitValue,
  type OutputEncoding,
} from '../spec/spec.js';
import { type ByteText, readArgument } from '../text/bytes.js';
import { printCall } from '../text/call-text.js';
import { printf } from '../text/printf.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import { callSite } from './call-site.js';
import { HIGHEST_FD, isOpen } from './given-away.js';

/** The fields of a spec that are set at most once, as one value. */
export type Single = Omit<
  CommandSpec,
  'version' | 'argv' | 'secretArgs' | 'env' | 'descriptors' | 'limits' | 'allowCaps' | 'attached'
>;

/** Everything about a call that a message about it needs. */
export interface Call {
  readonly method: string;
  readonly values: readonly unknown[];
}

/**
 * A command as it is being put together: what was said so far, and the mistakes made in saying it.
 *
 * A mistake is recorded, not thrown, so that a chain of calls needs no check in between; what was said wrongly is left out.
 */
export class Draft {
  readonly argv: ByteText[] = [];
  readonly secretArgs: number[] = [];
  env: Map<string, ByteText> | undefined;
  readonly descriptors: DescriptorSpec[] = [];
  readonly limits: LimitSpec[] = [];
  readonly allowCaps: string[] = [];
  readonly single: { -readonly [K in keyof Single]?: Single[K] } = {};
  readonly mistakes: Mistake[] = [];
  /** Who set a field: for the message of who sets it again. */
  #setBy: Map<keyof Single, string> | undefined;

  copy(): Draft {
    const copy = new Draft();
    copy.argv.push(...this.argv);
    copy.secretArgs.push(...this.secretArgs);
    if (this.env !== undefined) copy.env = new Map(this.env);
    copy.descriptors.push(...this.descriptors);
    copy.limits.push(...this.limits);
    copy.allowCaps.push(...this.allowCaps);
    Object.assign(copy.single, this.single);
    copy.mistakes.push(...this.mistakes);
    if (this.#setBy !== undefined) copy.#setBy = new Map(this.#setBy);
    return copy;
  }

  mistake({ method, values }: Call, problem: string): void {
    const at = callSite();
    this.mistakes.push({ call: printCall(method, values), problem, ...(at === undefined ? {} : { at }) });
  }

  /** Sets a field, once. False: it was set before, which is a mistake. */
  set<K extends keyof Single>(key: K, value: NonNullable<Single[K]>, call: Call): boolean {
    const earlier = this.#setBy?.get(key);
    if (earlier !== undefined) {
      const what =
        earlier === printCall(call.method, call.values) ? 'this was said before' : `${earlier} has set this already`;
      this.mistake(call, `${what}; say it once`);
      return false;
    }
    this.#setBy ??= new Map();
    this.#setBy.set(key, printCall(call.method, call.values));
    this.single[key] = value;
    return true;
  }

  /** Reads a value for argv or the environment, or records what is wrong with it. */
  text(value: unknown, call: Call, what = 'the value'): ByteText | undefined {
    const read = readArgument(value);
    if ('text' in read) return read.text;
    this.mistake(call, `${what} ${read.wrong}`);
    return undefined;
  }

  /** Reads a path or another text that cannot be bytes. */
  string(value: unknown, call: Call, what: string): string | undefined {
    if (typeof value !== 'string' || value === '' || value.includes('\0') || !value.isWellFormed()) {
      const read = typeof value === 'string' ? readArgument(value) : { wrong: 'is no string' };
      this.mistake(call, `${what} ${'wrong' in read ? read.wrong : 'is empty'}`);
      return undefined;
    }
    return value;
  }

  integer(
    value: unknown,
    call: Call,
    { what, min, max }: { what: string; min: number; max: number },
  ): number | undefined {
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    this.mistake(call, `${what} is a whole number from ${min} to ${max}`);
    return undefined;
  }

  /** From the first call about the environment on, nothing is inherited. */
  isolate(): Map<string, ByteText> {
    this.env ??= new Map();
    return this.env;
  }

  /** Sets a variable. The same name again replaces the value and keeps its place, as in libvirt. */
  variable(name: unknown, value: unknown, call: Call): void {
    const env = this.isolate();
    if (!this.variableName(name, call)) return;
    const text = this.text(value, call);
    if (text !== undefined) env.set(name, text);
  }

  variableName(name: unknown, call: Call): name is string {
    const text = this.string(name, call, 'the name of the variable');
    if (text?.includes('=') !== true) return text !== undefined;
    this.mistake(call, "the name of the variable holds '=', which ends it");
    return false;
  }

  /** Reads a descriptor that must be open here. */
  openFd(fd: unknown, call: Call): number | undefined {
    if (typeof fd !== 'number' || !Number.isInteger(fd) || fd < 0 || fd > HIGHEST_FD) {
      this.mistake(call, `a descriptor is a whole number from 0 to ${HIGHEST_FD}`);
      return undefined;
    }
    if (!isOpen(fd)) {
      this.mistake(call, `descriptor ${fd} is not open in this process`);
      return undefined;
    }
    return fd;
  }

  // ---------------------------------------------------------------- what a call means

  add(value: unknown, call: Call): void {
    const text = this.text(value, call);
    if (text !== undefined) this.argv.push(text);
  }

  /** Passes a descriptor, at a number of its own or as one of the standard streams. */
  pass(fd: unknown, { as, closeInParent = false }: { as: unknown; closeInParent?: boolean }, call: Call): void {
    const open = this.openFd(fd, call);
    // Where both are the same number, a wrong one is one mistake.
    const target =
      as === fd ? open : this.integer(as, call, { what: 'a descriptor in the program', min: 0, max: HIGHEST_FD });
    if (open === undefined || target === undefined) return;
    const entry = { fd: open, ...(closeInParent ? { closeInParent: true as const } : {}) };
    if (target > 2) this.descriptors.push({ ...entry, as: target });
    else if (target === open)
      this.mistake(call, '0, 1 and 2 are the standard streams; use inputFd(), outputFd() and errorFd()');
    else if (target === 0) this.set('stdin', { from: 'fd', ...entry }, call);
    else this.set(target === 1 ? 'stdout' : 'stderr', { to: 'fd', ...entry }, call);
  }

  outputFd(stream: 'stdout' | 'stderr', fd: unknown, call: Call): void {
    const open = this.openFd(fd, call);
    if (open !== undefined) this.set(stream, { to: 'fd', fd: open }, call);
  }

  /** Whether something can be read as options: a plain object, with these names and no others. */
  hasOptions(value: unknown, names: readonly string[], call: Call, instead = ''): boolean {
    if (value === undefined) return true;
    if (!isPlainObject(value)) {
      this.mistake(call, `these are no options; give ${instead}{ ${names.join(', ')} }`);
      return false;
    }
    const unknown = Object.keys(value).find((name) => !names.includes(name));
    if (unknown !== undefined)
      this.mistake(call, `there is no option ${inspect(unknown)}; the options are { ${names.join(', ')} }`);
    return unknown === undefined;
  }

  /** An option that is set or not. */
  switch(value: unknown, name: string, call: Call): boolean | undefined {
    if (value === undefined || typeof value === 'boolean') return value === true;
    this.mistake(call, `${name} is true or false`);
    return undefined;
  }

  outputFile(stream: 'stdout' | 'stderr', path: unknown, options: unknown, call: Call): void {
    const text = this.path(path, call);
    if (!this.hasOptions(options, ['append'], call)) return;
    const append = this.switch((options as { append?: unknown } | undefined)?.append, 'append', call);
    if (text !== undefined && append !== undefined)
      this.set(stream, { to: 'file', path: text, ...(append ? { append: true } : {}) }, call);
  }

  limit(resource: LimitResource, soft: unknown, hard: unknown, call: Call): void {
    if (!limitResources.includes(resource)) {
      this.mistake(call, `the resources are ${limitResources.join(', ')}`);
      return;
    }
    if (this.limits.some((limit) => limit.resource === resource)) {
      this.mistake(call, `the limit of ${resource} has been set already; say it once`);
      return;
    }
    const low = limitValue(soft);
    const high = limitValue(hard);
    if (low === undefined || high === undefined)
      this.mistake(call, "a limit is a whole number of 0 or more, or 'unlimited'");
    else if (magnitude(low) > magnitude(high)) this.mistake(call, 'the soft limit is above the hard one');
    else this.limits.push({ resource, soft: low, hard: high });
  }

  /** Sets a field to a whole number within bounds. */
  setInteger(
    key: 'umask' | 'nice' | 'oomScoreAdjust' | 'uid' | 'gid',
    value: unknown,
    bounds: { what: string; min: number; max: number },
    call: Call,
  ): void {
    const integer = this.integer(value, call, bounds);
    if (integer !== undefined) this.set(key, integer, call);
  }

  /** Sets a field to a text. */
  setString(key: 'selinuxLabel' | 'appArmorProfile' | 'cgroup', value: unknown, what: string, call: Call): void {
    const text = this.string(value, call, what);
    if (text !== undefined) this.set(key, text, call);
  }

  // ---------------------------------------------------------------- reading values

  format(format: unknown, values: readonly unknown[], call: Call): string | undefined {
    const formatted = typeof format === 'string' ? printf(format, values) : { wrong: 'the format is no string' };
    if ('text' in formatted) return formatted.text;
    this.mistake(call, formatted.wrong);
    return undefined;
  }

  path(path: unknown, call: Call): string | undefined {
    if (!(path instanceof URL)) return this.string(path, call, 'the path');
    if (path.protocol === 'file:' && path.host === '') {
      if (!/%2f/i.test(path.pathname)) return this.string(fileURLToPath(path), call, 'the path');
      this.mistake(call, "the address holds a '/' as %2F, which no part of a path can hold");
      return undefined;
    }
    this.mistake(
      call,
      path.protocol === 'file:'
        ? 'the address names a host; a path has none'
        : `the address is of the kind ${path.protocol}; only file: means a path`,
    );
    return undefined;
  }

  encoding(encoding: unknown, call: Call): OutputEncoding | undefined {
    if (encoding === undefined) return 'utf8';
    if (encoding === 'buffer' || (typeof encoding === 'string' && Buffer.isEncoding(encoding))) return encoding;
    this.mistake(call, `there is no encoding ${inspect(encoding)}; 'buffer' gives bytes`);
    return undefined;
  }

  signal(name: unknown, call: Call): name is SignalName {
    if (typeof name === 'string' && signalNumber(name) !== undefined) return true;
    this.mistake(call, `there is no signal ${inspect(name)}; write its name, as 'SIGTERM'`);
    return false;
  }
}

function limitValue(value: unknown): LimitValue | undefined {
  if (value === 'unlimited' || value === Infinity) return 'unlimited';
  if (typeof value === 'bigint')
    return value < 0n ? undefined : value <= Number.MAX_SAFE_INTEGER ? Number(value) : `${value}`;
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

const magnitude = (value: LimitValue): number => (value === 'unlimited' ? Infinity : Number(value));

/** Of any realm: a Map, a stream or an OutputBuffer of another copy of this library has more above it. */
function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const above: unknown = Object.getPrototypeOf(value);
  return above === null || Object.getPrototypeOf(above) === null;
}
