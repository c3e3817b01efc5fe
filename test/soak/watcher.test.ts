import { writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type Binding, places, roomFor, watchEvents } from '../../src/native/binding.js';
import { loadNative } from '../../src/native/load.js';
import { encode } from '../../src/wire/encode.js';
import { eventually, processStat } from '../helpers/tools.js';

/** The watcher by itself, in situations that whole commands come to only by chance. */
describe('the watcher', () => {
  const native = loadNative();

  /** Starts a program with nothing but this process's descriptors, and gives its pid and pidfd. */
  function start(binding: Binding, ...argv: string[]): { pid: number; pidfd: number } {
    const operations = [
      { code: 'sigprocmask', step: 0 },
      { code: 'execve', step: 1 },
    ] as const;
    const plan = encode({
      file: `/bin/${argv[0] ?? ''}`,
      argv: argv.map((word) => Buffer.from(word)),
      envp: [],
      operations,
    });
    const result = new Int32Array(roomFor('launch'));
    binding.launch(plan, plan.length, result);
    const { pid, pidfd, failed } = places.launch;
    expect(result[failed]).toBe(0);
    return { pid: result[pid] ?? 0, pidfd: result[pidfd] ?? -1 };
  }

  /** What the watcher is told of a child without pipes. */
  function fds(pidfd: number, report = -1): Int32Array {
    const told = new Int32Array(roomFor('watch'));
    const { input, stdout, stderr } = places.watch;
    for (const place of [input, stdout, stderr]) told[place] = -1;
    told[places.watch.pidfd] = pidfd;
    told[places.watch.report] = report;
    return told;
  }

  /** A pipe in which a helper's report waits to be read: it failed, at step 5, with errno 13. */
  function report(binding: Binding): number {
    const pipe = new Int32Array(2);
    expect(binding.pipe(pipe)).toBe(0);
    const [read = -1, write = -1] = pipe;
    writeSync(write, Buffer.from(Int32Array.of(1, 5, 13, 0).buffer));
    binding.closeAll(Int32Array.of(write));
    return read;
  }

  test('tells of a report also where the end is seen first, and of 64 events in one turn it is the last', async ({
    skip,
  }) => {
    if (typeof native === 'string') return skip(native);
    const { binding } = native;
    const CHILDREN = 80;
    const children = Array.from({ length: CHILDREN }, () => start(binding, 'true'));
    await eventually('all children are dead', () => children.every(({ pid }) => processStat(pid)?.state === 'Z'));

    // The first has no report: it puts the ends of the others at even places, and their reports at odd ones.
    const events: number[][] = children.map(() => []);
    await new Promise<void>((resolve) => {
      let left = CHILDREN;
      for (const [index, { pidfd }] of children.entries()) {
        binding.watch(fds(pidfd, index === 0 ? -1 : report(binding)), undefined, (event: number) => {
          events[index]?.push(event);
          if (event === watchEvents.end && (left -= 1) === 0) resolve();
        });
      }
    });
    const expected = children.map((_, index) =>
      index === 0 ? [watchEvents.end] : [watchEvents.report, watchEvents.end],
    );
    expect(events).toEqual(expected);
  });

  test('signals nobody once a process has been reaped', async ({ skip }) => {
    if (typeof native === 'string') return skip(native);
    const { binding } = native;
    const { pid, pidfd } = start(binding, 'sleep', '600');
    const id = binding.watch(fds(pidfd), undefined, () => undefined);
    expect(id).toBeGreaterThan(0);
    expect(binding.signal(id, 9)).toBe(0);
    await eventually('it is gone', () => processStat(pid) === undefined);
    expect(binding.signal(id, 9)).toBeLessThan(0);
  });
});
