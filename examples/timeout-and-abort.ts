// Three ways to stop a program. Each promise settles when the program is dead, not before.
import { Command, ExitError } from 'vircommand';

async function report(title: string, run: Promise<unknown>): Promise<void> {
  try {
    await run;
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    console.log(`${title} (${error.reason}): ${error.message}`);
  }
}

// 1. A timeout. This program ignores SIGTERM, so the stop sequence goes on to SIGKILL.
const stubborn = new Command('sh', '-c', 'trap "" TERM; while :; do sleep 0.1; done');
await report(
  'Timeout',
  stubborn
    .timeout(500)
    .stopSequence([['SIGTERM', 200]])
    .run(),
);

// 2. An AbortSignal, as everywhere in Node.
const controller = new AbortController();
setTimeout(() => controller.abort(new Error('the user closed the window')), 200);
await report('Abort signal', new Command('sleep', 60).abortSignal(controller.signal).run());

// 3. A child that is ours to end: by abort(), or by leaving the block.
let pid: number;
{
  await using child = await new Command('sleep', 60).runAsync();
  pid = child.pid;
}
await report(
  'Nobody',
  new Command('kill', '-0', pid).run({ check: false }).then(({ exitCode }) => {
    console.log(exitCode === 0 ? `Process ${pid} is still there.` : `Process ${pid} ended with its block.`);
  }),
);
