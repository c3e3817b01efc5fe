import type { Readable } from 'node:stream';
import { argumentError } from '../errors/argument-error.js';
import type { Subject } from '../errors/command-error.js';
import { UsageError } from '../errors/usage-error.js';
import { Wrong } from '../text/reading.js';
import {
  isSameFormat,
  type LineFormat,
  type LineOf,
  type LineOptions,
  type LinesFrom,
  readLineOptions,
  type ReadLineOptions,
} from './line-options.js';
import { LineSource } from './line-source.js';
import { Lines, type LineSupply } from './lines.js';

/** What of a child its lines need. */
export interface LinedChild {
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Whether all that it writes comes by a terminal, which stands for its standard output. */
  readonly hasTerminal: boolean;
  readonly subject: Subject;
  /** Resolves when the program has ended. */
  readonly ended: Promise<unknown>;
}

const names = { stdout: ['stdout'], stderr: ['stderr'], both: ['stdout', 'stderr'] } as const;

/** The streams that these are. */
export const streamsOf = (from: LinesFrom): readonly ('stdout' | 'stderr')[] => names[from];

/** What is wrong with asking for the standard error of a program with a terminal. */
export const ONE_OUTPUT =
  "both outputs of a program with a terminal are one, and that is 'stdout'; leave the option from out";

const pipeCalls = { stdout: 'outputPipe()', stderr: 'errorPipe()' } as const;

/** Reads the options of a call about lines, and throws a `TypeError` for what are none. */
export function lineOptionsOf<Other extends string = never>(
  method: string,
  values: readonly unknown[],
  options: unknown,
  others: readonly Other[] = [],
): ReadLineOptions<Other> {
  const read = readLineOptions(options, others);
  if (read instanceof Wrong) throw argumentError(method, [...values, options], read.wrong);
  return read;
}

/** The lines of a child: each stream is split once, for all who read it. */
export class ChildLines {
  readonly #child: LinedChild;
  readonly #sources = new Map<'stdout' | 'stderr', LineSource>();

  constructor(child: LinedChild) {
    this.#child = child;
  }

  /** @throws {TypeError} {UsageError} */
  lines<const O extends LineOptions>(options: O | undefined): Lines<LineOf<O>> {
    const { format, from } = lineOptionsOf('lines', [], options);
    const sources = this.sources('lines', format, from);
    const lines = new Lines<LineOf<O>>(supplyOf(sources), from === 'both');
    for (const source of sources) source.attach(lines);
    return lines;
  }

  /** Where the lines of these streams come from. @throws {UsageError} where a stream cannot be read so. */
  sources(method: string, format: LineFormat, from: LinesFrom): readonly LineSource[] {
    return streamsOf(from).map((name) => {
      const stream = this.#child[name];
      const call = `${method}()`;
      if (stream === null) {
        const problem = this.#child.hasTerminal
          ? ONE_OUTPUT
          : `nobody asked for a pipe from ${name}; call ${pipeCalls[name]} before runAsync()`;
        throw new UsageError(this.#child.subject, [{ call, problem }]);
      }
      const known = this.#sources.get(name);
      if (known === undefined) return this.#open(name, stream, format);
      if (isSameFormat(known.format, format)) return known;
      const problem = `${name} is being split in another way; give the same options each time`;
      throw new UsageError(this.#child.subject, [{ call, problem }]);
    });
  }

  #open(name: 'stdout' | 'stderr', stream: Readable, format: LineFormat): LineSource {
    const source = new LineSource(stream, name, format, this.#child.subject);
    this.#sources.set(name, source);
    void this.#child.ended.then(() => {
      source.programEnded();
    });
    return source;
  }
}

/** Lines without an end of their own: a loop that is left early lets the program go on. */
function supplyOf(sources: readonly LineSource[]): LineSupply {
  return {
    pull: () => {
      for (const source of sources) source.pull();
    },
    ended: () => Promise.resolve(),
    left: (unread, reader) => {
      for (const source of sources) source.detach(reader, sources.length === 1 ? unread : []);
      return Promise.resolve();
    },
  };
}
