// A tool that runs 100 jobs, 8 at once, by p-limit, and shows a bar by cli-progress. Ctrl-C ends those that run, with all that they have started, and begins no
// more; the terminal is as it was, and the exit code is the one that a shell knows.
import { constants } from 'node:os';
import { SingleBar } from 'cli-progress';
import pLimit from 'p-limit';
import { Command } from 'vircommand';

const [seconds = '0.02'] = process.argv.slice(2);
const limit = pLimit(8);
const bar = new SingleBar({ format: '[{bar}] {value} of {total} {job}', hideCursor: true, gracefulExit: false });
const stop = new AbortController();

async function run(job: number): Promise<void> {
  // In a session of its own, a job hears of Ctrl-C from here, and not from the terminal.
  const command = new Command('sh', '-c', 'sleep "$2" && echo "job $1"', 'sh', job, seconds)
    .newSession()
    .outputBuffer({ stripFinalNewline: true });
  const { stdout } = await command.abortSignal(stop.signal, { tree: true }).run();
  bar.increment({ job: stdout });
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
for (const signal of signals) process.once(signal, () => stop.abort(signal));
bar.start(100, 0, { job: '' });
const jobs = Array.from({ length: 100 }, (_, job) => limit(run, job));
try {
  await Promise.all(jobs);
} catch (error) {
  stop.abort(error); // The first that fails is the end of the others, too.
  await Promise.allSettled(jobs);
  const signal = signals.find((name) => name === stop.signal.reason);
  if (signal === undefined) throw error;
  process.exitCode = 128 + constants.signals[signal];
} finally {
  bar.stop();
}
console.log(stop.signal.aborted ? 'Stopped.' : 'All are done.');
