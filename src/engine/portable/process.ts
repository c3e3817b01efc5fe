import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { ResultPromise } from 'execa';
import { nextTurn } from '../../host/time.js';
import type { Capture } from '../../io/capture.js';
import type { SendBuffer } from '../../io/send-buffer.js';
import { LAST_READ, OutputPipe } from '../../io/output-pipe.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import type { ExitStatus } from '../../result/exit-status.js';
import { type SignalName, signalNumber } from '../../text/signals.js';
import { drainStream, mayLeaveLog } from '../drain.js';
import type { EngineProcess, LaunchResources, ProcessEnd } from '../engine.js';

/** How much is written to the child at once. What a child that ends early has not taken is counted in such pieces. */
const INPUT_PIECE = 64 * 1024;

/** Turns of the event loop without news from the output pipes after which they are empty. The first may have begun before the end. */
const QUIET_TURNS = 3;

export class PortableProcess implements EngineProcess {
  readonly pid: number;
  readonly stdin: Writable | null = null;
  readonly stdout: OutputPipe | null = null;
  readonly stderr: OutputPipe | null = null;
  readonly terminal = null;
  readonly ended: Promise<ProcessEnd>;
  readonly handshake = undefined;
  readonly leaveLog: () => boolean;
  readonly #subprocess: ResultPromise;
  readonly #captured: CapturedStream[] = [];
  readonly #mayStopReading: Promise<void>;
  #stopReading: () => void = () => undefined;
  #inputWritten = 0;
  #hasExited = false;

  constructor(
    pid: number,
    subprocess: ResultPromise,
    plan: LaunchPlan,
    resources: LaunchResources,
    shared: Socket | undefined,
  ) {
    this.pid = pid;
    this.#subprocess = subprocess;
    this.#mayStopReading = new Promise((resolve) => {
      this.#stopReading = resolve;
    });
    if (!resources.waitForOutputEnd) this.#stopReading();
    const exited = new Promise<ExitStatus>((resolve) => {
      subprocess.once('exit', (exitCode, signal) => {
        this.#hasExited = true;
        this.stdout?.takeRest();
        this.stderr?.takeRest();
        resolve({ exitCode, signal, coreDumped: undefined });
      });
    });

    for (const { childFd, source } of plan.descriptors) {
      if (source.kind === 'send') this.#send(subprocess.stdio[childFd] as Writable, resources.sendBuffers.get(childFd));
      if (source.kind !== 'pipe') continue;
      if (childFd === 0) {
        const stdin = subprocess.stdin!;
        // A child that does not read is no failure of ours: EPIPE shows in what was written, and in the caller's own callbacks.
        stdin.on('error', ignoreClosedPipe);
        if (source.for === 'caller' || source.for === 'flow') this.stdin = stdin;
        else void this.#feed(stdin, resources.input ?? Buffer.alloc(0));
        continue;
      }
      const stream = shared ?? (childFd === 1 ? subprocess.stdout : subprocess.stderr)!;
      const capture = source.for === 'flow' ? undefined : resources.captures.get(childFd as 1 | 2);
      if (capture !== undefined) {
        this.#captured.push(new CapturedStream(stream as Socket, capture));
        continue;
      }
      const output = new OutputPipe(stream as Socket);
      if (childFd === 1) this.stdout = output;
      else this.stderr = output;
    }
    const log = mayLeaveLog(plan) ? subprocess.stderr : null;
    let isLogLeft = false;
    this.leaveLog = () => (isLogLeft ||= log !== null && !log.destroyed && !log.readableEnded && drainStream(log));
    this.ended = this.#end(exited);
  }

  signal(signal: SignalName): boolean {
    // Until its `exit` event, libuv has not reaped the child: the pid cannot mean another process. By number, since
    // neither execa nor Node know the names of real-time signals.
    return !this.#hasExited && process.kill(this.pid, signalNumber(signal));
  }

  get isReaped(): boolean {
    return this.#hasExited;
  }

  stopReading(): void {
    this.#stopReading();
  }

  ref(): void {
    this.#subprocess.ref();
    for (const output of this.#captured) output.ref();
  }

  unref(): void {
    this.#subprocess.unref();
    for (const output of this.#captured) output.unref();
  }

  /** Sends bytes, of which this process's copy is wiped when they are written, or when nobody will read them. */
  #send(stream: Writable, buffer: SendBuffer | undefined): void {
    const bytes = Buffer.from(buffer?.bytes ?? '');
    stream.on('error', ignoreClosedPipe);
    stream.once('close', () => bytes.fill(0));
    stream.end(bytes);
    // Another process may hold the other end, and never read it.
    this.#subprocess.once('exit', () => stream.destroy());
  }

  async #feed(stdin: Writable, input: Uint8Array): Promise<void> {
    for (let at = 0; at < input.length; at += INPUT_PIECE) {
      const piece = input.subarray(at, at + INPUT_PIECE);
      const taken = await new Promise<boolean>((resolve) => {
        stdin.write(piece, (error) => {
          resolve(error === undefined || error === null);
        });
      });
      if (!taken) return;
      this.#inputWritten += piece.length;
    }
    stdin.end();
  }

  async #end(exited: Promise<ExitStatus>): Promise<ProcessEnd> {
    const status = await exited;
    await Promise.race([Promise.all(this.#captured.map((output) => output.closed)), this.#mayStopReading]);
    await this.#readRest();
    const outputHeldOpen = this.#captured.some((output) => !output.ended);
    // What the program left behind goes on writing as well.
    this.leaveLog();
    for (const output of this.#captured) output.close();
    return {
      ...status,
      outputHeldOpen,
      inputWritten: this.#inputWritten,
      resourceUsage: undefined,
      lostOutput: undefined,
    };
  }

  /**
   * Reads what the child left in its pipes, up to {@link LAST_READ} bytes, and does not wait for those who still hold them.
   *
   * The child is dead, so all that it wrote lies in the kernel. A turn of the event loop asks the kernel about every
   * pipe; a turn that brings nothing means that they are empty. Time plays no part in it, however loaded the machine is.
   */
  async #readRest(): Promise<void> {
    const bytesRead = (): number => this.#captured.reduce((sum, output) => sum + output.bytesRead, 0);
    const before = bytesRead();
    let seen = before;
    let quietTurns = 0;
    while (quietTurns < QUIET_TURNS && seen - before < LAST_READ && this.#captured.some((output) => !output.ended)) {
      await nextTurn();
      const now = bytesRead();
      quietTurns = now === seen ? quietTurns + 1 : 0;
      seen = now;
    }
  }
}

/** An output pipe that is read here, to its end or until we close it. */
class CapturedStream {
  readonly closed: Promise<void>;
  ended = false;
  bytesRead = 0;
  readonly #stream: Socket;

  constructor(stream: Socket, capture: Capture) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => {
      this.bytesRead += chunk.length;
      capture.write(chunk);
    });
    this.closed = new Promise((resolve) => {
      const end = (): void => {
        this.ended = true;
        resolve();
      };
      stream.once('end', end).once('close', end).on('error', end);
    });
  }

  /** Whether the event loop waits for what comes. Every pipe of `child_process` is a socket. */
  ref(): void {
    this.#stream.ref();
  }

  unref(): void {
    this.#stream.unref();
  }

  close(): void {
    this.#stream.destroy();
  }
}

function ignoreClosedPipe(): void {
  // The stream that the caller holds tells of its own end; there is nobody else to tell.
}
