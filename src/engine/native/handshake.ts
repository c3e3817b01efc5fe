import type { Socket } from 'node:net';
import { type CommandError, fromHere, type Subject } from '../../errors/command-error.js';
import { LaunchError } from '../../errors/launch-error.js';
import { UsageError } from '../../errors/usage-error.js';
import { pipeStream } from '../../io/pipe-stream.js';
import type { HandshakeEnds } from '../../plan/step-table.js';
import type { Handshake } from '../engine.js';

/** Two pipes and two bytes: the helper says that all is ready, and waits for our word. */
export class NativeHandshake implements Handshake {
  failure: CommandError | undefined;
  /** Whether the child came to its exec. */
  wasPassed = false;
  readonly #ready: Promise<void>;
  readonly #go: Socket;
  readonly #reported: Promise<CommandError | undefined>;
  readonly #subject: Subject;
  /** Keeps this process alive until the report has come, even if the child may outlive it. */
  readonly #keepAlive: () => void;
  #word: 'go' | 'stop' | undefined;

  constructor(
    { ready, go }: HandshakeEnds,
    subject: Subject,
    reported: Promise<CommandError | undefined>,
    keepAlive: () => void,
  ) {
    this.#subject = subject;
    this.#keepAlive = keepAlive;
    this.#reported = reported;
    this.#go = pipeStream(go, 'writable');
    this.#go.on('error', () => undefined);
    // The program runs, or never will: nobody waits for a word any more.
    void reported.then(() => this.#go.destroy());
    const socket = pipeStream(ready, 'readable');
    this.#ready = new Promise((resolve, reject) => {
      socket.once('data', () => {
        resolve();
        socket.destroy();
      });
      // The end without a byte: the child died, or one of its steps failed, which its report tells.
      socket.once('end', () => {
        void reported.then((error) => {
          reject(error ?? this.#died());
        });
      });
    });
    this.#ready.catch(() => undefined);
  }

  get isPending(): boolean {
    return this.#word === undefined;
  }

  async wait(): Promise<void> {
    try {
      await this.#ready;
    } catch (error) {
      throw fromHere(error as CommandError);
    }
  }

  async notify(): Promise<void> {
    await this.wait();
    if (this.#word !== undefined) {
      const problem =
        this.#word === 'go'
          ? 'the handshake is complete already; say it once'
          : 'the handshake was given up, and the program will not run; start it anew';
      throw new UsageError(this.#subject, [{ call: 'handshakeNotify()', problem }]);
    }
    this.#word = 'go';
    this.#keepAlive();
    this.#go.end('1');
    const error = await this.#reported;
    if (error !== undefined) throw fromHere(error);
    // A child that was ended while it waited reports nothing.
    if (!this.wasPassed) throw new LaunchError(this.#subject, { step: 'execve', wasEnded: true });
  }

  async abort(): Promise<void> {
    if (this.#word === 'go') {
      throw new UsageError(this.#subject, [
        {
          call: 'handshakeAbort()',
          problem: 'the handshake is complete already; end the program with killPainfully()',
        },
      ]);
    }
    this.#word = 'stop';
    this.#keepAlive();
    // The end of the pipe is the word for no.
    this.#go.destroy();
    await this.#reported;
  }

  #died(): LaunchError {
    return new LaunchError(this.#subject, {
      step: 'handshake',
      errno: 'EPIPE',
      wanted: 'come to its handshake, for it died before',
    });
  }
}
