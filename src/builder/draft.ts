import { Buffer } from 'node:buffer';
import { fileURLToPath } from 'node:url';
import type { Mistake } from '../errors/usage-error.js';
import { LONGEST_TIMER } from '../host/time.js';
import { type Owner, ownerOf } from '../io/owner.js';
import { Bare, bare } from '../spec/bare.js';
import {
  type CommandSpec,
  type DescriptorSpec,
  FIRST_LISTEN_FD,
  type LimitResource,
  limitResources,
  type LimitSpec,
  type LimitValue,
  type OutputEncoding,
} from '../spec/spec.js';
import { isTerminalSize, LARGEST_SIZE, USUAL_SIZE } from '../terminal/size.js';
import { type ByteText, readArgument } from '../text/bytes.js';
import { printCall } from '../text/call-text.js';
import { printf } from '../text/printf.js';
import {
  asUrl,
  describeKind,
  isArray,
  isBytes,
  isDetached,
  printAnything,
  readOptions,
  readSwitch,
  type ReadOptions,
  Wrong,
} from '../text/reading.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import { callSite, type Entry } from './call-site.js';
import { umasksInDecimal } from './options.js';
import { HIGHEST_FD, isOpen, listOwnedBy, ownedBy, unreadProblem } from './given-away.js';

/** The fields of a spec that are set at most once, as one value. */
export type Single = Omit<
  CommandSpec,
  'version' | 'argv' | 'secretArgs' | 'env' | 'descriptors' | 'sendBuffers' | 'limits' | 'allowCaps' | 'attached'
>;

/** Everything about a call that a message about it needs. */
export interface Call {
  readonly method: string;
  readonly values: readonly unknown[];
  /** The function that was called, which leads to where. */
  readonly called: Entry;
}

/** A descriptor as a call has named it. */
interface NamedDescriptor {
  readonly fd: number;
  /** The object that was given in its place. */
  readonly owner: Owner | undefined;
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
  readonly sendBuffers: number[] = [];
  readonly limits: LimitSpec[] = [];
  readonly allowCaps: string[] = [];
  readonly single = new Bare() as { -readonly [K in keyof Single]?: Single[K] };
  readonly mistakes: Mistake[] = [];
  /** Who set a field: for the message of who sets it again. */
  #setBy: Map<keyof Single, string> | undefined;

  /** Whether a value is a draft: nobody outside has one, and no proxy passes for one. */
  static isDraft(value: unknown): value is Draft {
    return typeof value === 'object' && value !== null && #setBy in value;
  }

  copy(): Draft {
    const copy = new Draft();
    copy.argv.push(...this.argv);
    copy.secretArgs.push(...this.secretArgs);
    if (this.env !== undefined) copy.env = new Map(this.env);
    copy.descriptors.push(...this.descriptors);
    copy.sendBuffers.push(...this.sendBuffers);
    copy.limits.push(...this.limits);
    copy.allowCaps.push(...this.allowCaps);
    Object.assign(copy.single, this.single);
    copy.mistakes.push(...this.mistakes);
    if (this.#setBy !== undefined) copy.#setBy = new Map(this.#setBy);
    return copy;
  }

  mistake({ method, values, called }: Call, problem: string): void {
    const at = callSite(called);
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

  /** The lowest number above the standard streams that no descriptor of the program has so far. */
  unusedFd(): number {
    const used = new Set([...this.descriptors.map(({ as }) => as), ...this.sendBuffers]);
    for (const index of (this.single.listenFds ?? []).keys()) used.add(FIRST_LISTEN_FD + index);
    let fd = 3;
    while (used.has(fd)) fd += 1;
    return fd;
  }

  /** Reads a value for argv or the environment, or records what is wrong with it. */
  text(value: unknown, call: Call, what = 'the value'): ByteText | undefined {
    const read = readArgument(value);
    if (!(read instanceof Wrong)) return read;
    this.mistake(call, `${what} ${read.wrong}`);
    return undefined;
  }

  /** Reads a text that cannot be bytes. */
  string(value: unknown, call: Call, what: string): string | undefined {
    if (typeof value !== 'string' || value === '' || value.includes('\0') || !value.isWellFormed()) {
      const read = typeof value === 'string' ? readArgument(value) : new Wrong('is no string');
      this.mistake(call, `${what} ${read instanceof Wrong ? read.wrong : 'is empty'}`);
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
    if (typeof name === 'object' && name !== null && !isBytes(name)) {
      const way = isArray(name) ? 'give each name as a value of its own' : 'say env(name, value) for each variable';
      this.mistake(call, `the name of the variable is ${describeKind(name)}; ${way}`);
      return false;
    }
    const text = this.string(name, call, 'the name of the variable');
    if (text?.includes('=') !== true) return text !== undefined;
    this.mistake(call, "the name of the variable holds '=', which ends it");
    return false;
  }

  /** Reads a descriptor that must be open here, by its number or by the object that owns it. A program that may read from it has it to itself. */
  descriptor(value: unknown, call: Call, isRead: boolean): NamedDescriptor | undefined {
    if (typeof value === 'object' && value !== null) return this.#ownedDescriptor(value, call, isRead);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > HIGHEST_FD) {
      this.mistake(call, `a descriptor is a whole number from 0 to ${HIGHEST_FD}`);
      return undefined;
    }
    if (!isOpen(value)) {
      this.mistake(call, `descriptor ${value} is not open in this process`);
      return undefined;
    }
    return { fd: value, owner: undefined };
  }

  #ownedDescriptor(value: object, call: Call, isRead: boolean): NamedDescriptor | undefined {
    const owner = this.#rightOf(ownerOf(value), call);
    if (owner === undefined) return undefined;
    const fd = owner.fd();
    const problem =
      (isRead ? unreadProblem(owner) : undefined) ??
      (fd === undefined ? `${owner.name} has no descriptor: it is not open yet, or closed already` : undefined);
    if (problem !== undefined) this.mistake(call, problem);
    if (fd === undefined || problem !== undefined) return undefined;
    if (isRead) owner.stopReading();
    return { fd, owner };
  }

  // ---------------------------------------------------------------- what a call means

  add(value: unknown, call: Call): void {
    const text = this.text(value, call);
    if (text !== undefined) this.argv.push(text);
  }

  /** Passes a descriptor, at a number of its own or as one of the standard streams. */
  pass(fd: unknown, { as, closeInParent = false }: { as: unknown; closeInParent?: boolean }, call: Call): void {
    const named = this.descriptor(fd, call, as !== 1 && as !== 2);
    const open = named?.fd;
    // Where both are the same number, a wrong one is one mistake.
    const target = Object.is(as, fd)
      ? open
      : this.integer(as, call, { what: 'a descriptor in the program', min: 0, max: HIGHEST_FD });
    if (named === undefined || open === undefined || target === undefined) return;
    const given = closeInParent ? { closeInParent: true as const } : {};
    const { owner } = named;
    if (target > 2) this.descriptors.push(ownedBy(bare({ fd: open, as: target, ...given }), owner));
    else if (target === open)
      this.mistake(call, '0, 1 and 2 are the standard streams; use inputFd(), outputFd() and errorFd()');
    else if (target === 0) this.set('stdin', ownedBy(bare({ from: 'fd' as const, fd: open, ...given }), owner), call);
    else
      this.set(
        target === 1 ? 'stdout' : 'stderr',
        ownedBy(bare({ to: 'fd' as const, fd: open, ...given }), owner),
        call,
      );
  }

  inputFd(fd: unknown, call: Call): void {
    const named = this.descriptor(fd, call, true);
    if (named !== undefined) this.set('stdin', ownedBy(bare({ from: 'fd' as const, fd: named.fd }), named.owner), call);
  }

  outputFd(stream: 'stdout' | 'stderr', fd: unknown, call: Call): void {
    const named = this.descriptor(fd, call, false);
    if (named !== undefined) this.set(stream, ownedBy(bare({ to: 'fd' as const, fd: named.fd }), named.owner), call);
  }

  terminal(
    { columns = USUAL_SIZE.columns, rows = USUAL_SIZE.rows }: ReadOptions<'columns' | 'rows'>,
    call: Call,
  ): void {
    if (isTerminalSize(columns) && isTerminalSize(rows)) this.set('terminal', bare({ columns, rows }), call);
    else this.mistake(call, `columns and rows are whole numbers from 1 to ${LARGEST_SIZE}`);
  }

  listenFds(fds: readonly unknown[], call: Call): void {
    const all = fds.map((fd) => this.descriptor(fd, call, false)).filter((named) => named !== undefined);
    const list = all.map(({ fd }) => fd);
    this.set(
      'listenFds',
      listOwnedBy(
        list,
        all.map(({ owner }) => owner),
      ),
      call,
    );
  }

  /** Reads the options of a call, or records what is wrong with them. */
  options<Name extends string>(
    value: unknown,
    names: readonly Name[],
    call: Call,
    instead?: string,
  ): ReadOptions<Name> | undefined {
    return this.#rightOf(readOptions(value, names, instead), call);
  }

  /** An option that is set or not. */
  switch(value: unknown, name: string, call: Call): boolean | undefined {
    return this.#rightOf(readSwitch(value, name), call);
  }

  #rightOf<T>(read: T | Wrong, call: Call): T | undefined {
    if (!(read instanceof Wrong)) return read;
    this.mistake(call, read.wrong);
    return undefined;
  }

  outputFile(stream: 'stdout' | 'stderr', path: unknown, given: unknown, call: Call): void {
    const text = this.path(path, call);
    const options = this.options(given, ['append'], call);
    if (options === undefined) return;
    const append = this.switch(options.append, 'append', call);
    if (text !== undefined && append !== undefined)
      this.set(stream, bare({ to: 'file', path: text, ...(append ? { append: true } : {}) }), call);
  }

  /** Has a stream go to a file as well. */
  tee(path: unknown, given: unknown, call: Call): void {
    const text = this.path(path, call);
    const options = this.options(given, ['append', 'from'], call);
    if (options === undefined) return;
    const append = this.switch(options.append, 'append', call);
    const { from = 'stdout' } = options;
    if (from !== 'stdout' && from !== 'stderr')
      this.mistake(call, `the option from is 'stdout' or 'stderr', and not ${printAnything(from)}`);
    else if (text !== undefined && append !== undefined)
      this.set(
        from === 'stdout' ? 'stdoutTee' : 'stderrTee',
        bare({ path: text, ...(append ? { append: true } : {}) }),
        call,
      );
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
    key: 'nice' | 'oomScoreAdjust' | 'uid' | 'gid' | 'pipeSize',
    value: unknown,
    bounds: { what: string; min: number; max: number },
    call: Call,
  ): void {
    // Only user() looks names up.
    const isName = typeof value === 'string' && (key === 'uid' || key === 'gid');
    const what = isName ? `a name goes to user(), and ${bounds.what}` : bounds.what;
    const integer = this.integer(value, call, { ...bounds, what });
    if (integer !== undefined) this.set(key, integer, call);
  }

  /** Sets the umask: a number that was written in decimal by mistake is told from one in octal where it can be. */
  umask(value: unknown, call: Call): void {
    if (typeof value === 'number' && umasksInDecimal.includes(value)) {
      const octal = value.toString(8).padStart(3, '0');
      this.mistake(
        call,
        `${value} is decimal, and means 0o${octal}; write 0o0${value}, or '0o${octal}' where that is meant`,
      );
      return;
    }
    // The digits of masks that people know.
    if (typeof value === 'number' && value > 0o777 && /^[0257]{3}$/.test(String(value))) {
      this.mistake(call, `${value} is decimal, and above the highest mask, 0o777; write 0o${value}`);
      return;
    }
    if (typeof value === 'string' && /^[0-7]{1,4}$/.test(value)) {
      this.mistake(call, `the mask is a number; write 0o${value.padStart(3, '0')}`);
      return;
    }
    const isOctal = typeof value === 'string' && /^0o[0-7]{1,4}$/.test(value);
    const mask = isOctal ? Number(value) : value;
    if (typeof mask === 'number' && Number.isInteger(mask) && mask >= 0 && mask <= 0o777) this.set('umask', mask, call);
    else this.mistake(call, 'the mask is a whole number from 0 to 0o777');
  }

  timeout(ms: unknown, tree: boolean, call: Call): void {
    if (typeof ms !== 'number' || !(ms > 0 && ms <= LONGEST_TIMER))
      this.mistake(call, `a timeout is above 0 and at most ${LONGEST_TIMER} milliseconds`);
    else if (this.set('timeoutMs', ms, call) && tree) this.single.timeoutTree = true;
  }

  silenceTimeout(ms: unknown, call: Call): void {
    if (typeof ms !== 'number' || !(ms > 0 && ms <= LONGEST_TIMER))
      this.mistake(call, `a time of silence is above 0 and at most ${LONGEST_TIMER} milliseconds`);
    else this.set('silenceTimeoutMs', ms, call);
  }

  /** Sets a field to a text. */
  setString(key: 'selinuxLabel' | 'appArmorProfile', value: unknown, what: string, call: Call): void {
    const text = this.string(value, call, what);
    if (text !== undefined) this.set(key, text, call);
  }

  // ---------------------------------------------------------------- reading values

  format(format: unknown, values: readonly unknown[], call: Call): string | undefined {
    return this.#rightOf(
      typeof format === 'string' ? printf(format, values) : new Wrong('the format is no string'),
      call,
    );
  }

  /** Reads a path: text, bytes, or the address of a file. */
  path(path: unknown, call: Call, what = 'the path'): ByteText | undefined {
    if (isBytes(path)) {
      if (path.length > 0 || isDetached(path)) return this.text(path, call, what);
      this.mistake(call, `${what} is empty`);
      return undefined;
    }
    const url = asUrl(path);
    if (url === undefined) return this.string(path, call, what);
    if (url.protocol === 'file:' && url.host === '') {
      if (!/%2f/i.test(url.pathname)) return this.text(bytesOfFileUrl(url), call, what);
      this.mistake(call, "the address holds a '/' as %2F, which no part of a path can hold");
      return undefined;
    }
    this.mistake(
      call,
      url.protocol === 'file:'
        ? 'the address names a host; a path has none'
        : `the address is of the kind ${url.protocol}; only file: means a path`,
    );
    return undefined;
  }

  encoding(encoding: unknown, call: Call): OutputEncoding | undefined {
    if (encoding === undefined) return 'utf8';
    if (encoding === 'buffer' || (typeof encoding === 'string' && Buffer.isEncoding(encoding))) return encoding;
    this.mistake(call, `there is no encoding ${printAnything(encoding)}; 'buffer' gives bytes`);
    return undefined;
  }

  signal(name: unknown, call: Call): name is SignalName {
    if (typeof name === 'string' && signalNumber(name) !== undefined) return true;
    this.mistake(call, `there is no signal ${printAnything(name)}; write its name, as 'SIGTERM'`);
    return false;
  }
}

/** The path that an address names: as text, or as the bytes that it escapes where they are no UTF-8. */
function bytesOfFileUrl(url: URL): string | Uint8Array {
  try {
    return fileURLToPath(url);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    const escapes = /%([0-9a-f]{2})/gi;
    return Buffer.from(
      url.pathname.replaceAll(escapes, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
      'latin1',
    );
  }
}

function limitValue(value: unknown): LimitValue | undefined {
  if (value === 'unlimited' || value === Infinity) return 'unlimited';
  if (typeof value === 'bigint')
    return value < 0n ? undefined : value <= Number.MAX_SAFE_INTEGER ? Number(value) : `${value}`;
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

const magnitude = (value: LimitValue): number => (value === 'unlimited' ? Infinity : Number(value));
