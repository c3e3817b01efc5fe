// A pipeline: what one program writes is what the next one reads. Each stage that fails is an error, with its own words.
import { pipeline } from 'node:stream/promises';
import type { Child, Command, RunResult } from 'vircommand';

/** Runs the commands side by side, and gives the results of all. The output of the last is captured, if it says so. */
export async function pipe(...commands: readonly Command[]): Promise<RunResult[]> {
  const children: Child[] = [];
  try {
    for (const [index, command] of commands.entries()) {
      const stage = command.clone();
      if (index > 0) stage.inputPipe();
      if (index < commands.length - 1) stage.outputPipe();
      children.push(await stage.runAsync());
    }
    const joints = children.slice(1).map(async ({ stdin }, index) => {
      const stdout = children[index]?.stdout;
      // Where the next program has ended, writing to it fails: its result tells why, and SIGPIPE that of the one before.
      if (stdin && stdout) await pipeline(stdout, stdin).catch(() => stdout.destroy());
    });
    await Promise.all(joints);
    // The last stage that failed is the one to blame: those before it may have lost their reader.
    const results = await Promise.allSettled(children.map((child) => child.wait()));
    const failure = results.findLast((result) => result.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
    return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  } finally {
    await Promise.all(children.map((child) => child.free()));
  }
}
