// Runs a program in the foreground of this process's terminal, tells its end, and what the terminal is like then.
// Arguments: the way (run, runSync, exit, throw, listen, twice), and the program with its arguments.
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'vircommand';

const [, , way, program, ...args] = process.argv;
const command = new Command(program, ...args).inheritTerminal();
const tell = (text) => process.stdout.write(`${text}\n`);

/** Once the program has said that it is there, this process ends without a word. */
async function leave(end) {
  const child = await command.runAsync();
  // What the program says goes to the terminal itself: it has a moment to say it.
  await sleep(300);
  end(child);
}

const ways = {
  run: async () => command.run({ check: false }),
  runSync: () => command.runSync({ check: false }),
  exit: () => leave(() => process.exit(4)),
  throw: () =>
    leave(() => {
      process.nextTick(() => {
        throw new Error('on purpose');
      });
      return new Promise(() => undefined);
    }),
  die: () => leave(() => process.kill(process.pid, 'SIGTERM')),
  twice: async () => {
    const child = await command.runAsync();
    await new Command('true')
      .inheritTerminal()
      .run()
      .catch((error) => tell(`second: ${error.mistakes?.[0].problem ?? error}`));
    await child.stop();
    return { exitCode: null, signal: 'stopped' };
  },
};

try {
  const result = await ways[way]();
  if (result !== undefined) {
    const { exitCode, signal } = result;
    tell(`end: ${exitCode ?? signal}`);
    // Its own group is in the foreground again, and the modes are told.
    const modes = execFileSync('stty', ['-a'], { stdio: ['inherit', 'pipe', 'inherit'], encoding: 'utf8' });
    tell(`modes: ${modes.match(/-?\bicanon\b/)} ${modes.match(/-?\becho\b/)}`);
    tell(`listeners: ${process.listenerCount('SIGCHLD')} ${process.listenerCount('SIGCONT')}`);
  }
} catch (error) {
  tell(`error: ${error.name} ${error.step ?? ''}`);
}
