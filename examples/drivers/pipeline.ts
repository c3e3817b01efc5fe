// A pipeline: what one program writes is what the next one reads. The first stage that fails is the error, with its own words.
import { Command, pipeline } from 'vircommand';

/** What a backup is made with. */
export interface BackupOptions {
  /** Stops all stages, each by its own sequence. */
  readonly signal?: AbortSignal;
  /** For all stages together. Default: an hour. */
  readonly timeoutMs?: number;
}

const AN_HOUR = 3_600_000;

/** Writes a compressed copy of an image, and gives the checksum of what was written. */
export async function backUp(image: string, copy: string, { signal, timeoutMs }: BackupOptions = {}): Promise<string> {
  const { stdout } = await pipeline(
    new Command('cat', '--', image).nice(10),
    new Command('gzip', '-1').nice(10),
    new Command('tee', '--', copy),
    new Command('sha256sum').outputBuffer(),
  )
    .timeout(timeoutMs ?? AN_HOUR)
    .abortSignal(signal)
    .run();
  return stdout.slice(0, stdout.indexOf(' '));
}

/** The users of a machine that `pattern` matches, none being no error. */
export async function usersLike(pattern: string, file = '/etc/passwd'): Promise<string[]> {
  const { stdout } = await pipeline(
    new Command('cut', '-d', ':', '-f', 1).inputFile(file),
    new Command('grep', '-e', pattern).check([0, 1]),
    new Command('sort').outputBuffer(),
  ).run();
  return stdout.split('\n').slice(0, -1);
}
