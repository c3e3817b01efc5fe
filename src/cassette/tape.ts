import { Buffer } from 'node:buffer';
import { PlayedProgram } from '../engine/played.js';
import type { Clock } from '../host/time.js';
import { bare } from '../spec/bare.js';
import { toBytes } from '../text/bytes.js';
import type { SignalName } from '../text/signals.js';
import { digestOf, isSameDigest, type TapeEntry, type TapeEvent } from './entry.js';
import type { Hidden } from './hidden.js';

/** What a tape is played with. */
export interface Player {
  readonly hidden: Hidden;
  /** By which it takes its time; `undefined`: it takes none. */
  readonly clock: Clock | undefined;
  /** Makes the error for what was done to the program that was not done when it was recorded, and keeps it. */
  readonly object: (problem: string) => Error;
}

/** Plays one run: what it wrote comes by itself, and what was done to it then is waited for. */
export class Tape {
  readonly program: PlayedProgram;
  readonly #entry: TapeEntry;
  readonly #events: readonly TapeEvent[];
  readonly #player: Player;
  /** Signals that have come, and were not yet waited for. */
  readonly #signals: SignalName[] = [];
  #place = 0;
  #input = '';
  #hasAllInput = false;
  #isPlaying = false;
  #playedMs = 0;

  constructor(entry: TapeEntry, player: Player) {
    this.#entry = entry;
    this.#events = entry.events ?? [];
    this.#player = player;
    this.program = new PlayedProgram(
      bare({
        onBegin: () => {
          this.#play();
        },
        onSignal: (signal: SignalName) => this.#takeSignal(signal),
        onInput: (text: string) => {
          this.#input += text;
          this.#play();
        },
        onInputEnd: () => {
          this.#hasAllInput = true;
          this.#play();
        },
      }),
    );
  }

  get #hasEnd(): boolean {
    const { exitCode, signal } = this.#entry;
    return exitCode !== undefined || signal !== undefined;
  }

  /** Goes on as far as it can. What is written may be answered at once by what it waits for. */
  #play(): void {
    if (this.#isPlaying) return;
    this.#isPlaying = true;
    try {
      for (;;) {
        const event = this.#events.at(this.#place);
        if (event === undefined) break;
        if (this.#waits(event.at)) return;
        if (!this.#perform(event)) {
          this.#isPlaying = false;
          return;
        }
        this.#place += 1;
      }
      const { exitCode, signal } = this.#entry;
      if (this.#hasEnd) this.program.end(bare({ exitCode, signal }));
    } catch (error) {
      this.#isPlaying = false;
      throw error;
    }
  }

  /** Whether it is too early for what comes next: then it goes on when it is time. */
  #waits(at: number): boolean {
    const { clock } = this.#player;
    const ms = at - this.#playedMs;
    if (clock === undefined || ms <= 0) return false;
    clock.after(ms, () => {
      this.#playedMs = at;
      this.#isPlaying = false;
      try {
        this.#play();
      } catch {
        // The cassette keeps the error, and tells it when it is closed: nobody waits for a timer.
        this.program.end(bare({ signal: 'SIGKILL' } as const));
      }
    });
    return true;
  }

  /** Does what comes next. False: that has to be waited for. */
  #perform({ stdout, stderr, input, inputEnd, signal }: TapeEvent): boolean {
    const { hidden, object } = this.#player;
    if (stdout !== undefined) this.program.write(toBytes(hidden.show(stdout)));
    if (stderr !== undefined) this.program.writeError(toBytes(hidden.show(stderr)));
    if (inputEnd === true) {
      if (this.#input !== '') throw object(OTHER_INPUT);
      return this.#hasAllInput;
    }
    if (input !== undefined) {
      const bytes = Buffer.from(this.#input);
      const text = bytes.subarray(0, input.bytes).toString();
      if (bytes.length < input.bytes && !this.#hasAllInput) return false;
      if (!isSameDigest(digestOf(text), input)) throw object(OTHER_INPUT);
      this.#input = this.#input.slice(text.length);
    }
    if (signal === undefined) return true;
    const place = this.#signals.indexOf(signal);
    if (place < 0) return false;
    this.#signals.splice(place, 1);
    return true;
  }

  /** Of a program that went on, nobody knows what it would have done: it ends as most do. */
  #takeSignal(signal: SignalName): 'ignore' | undefined {
    const awaited = this.#events.slice(this.#place).filter((event) => event.signal === signal).length;
    if (awaited <= this.#signals.filter((one) => one === signal).length) {
      if (this.#hasEnd) this.#player.object(`it was sent ${signal}, and when it was recorded, it was not`);
      return undefined;
    }
    this.#signals.push(signal);
    this.#play();
    return 'ignore';
  }
}

const OTHER_INPUT = 'what is written to its standard input is not what was written when it was recorded';
