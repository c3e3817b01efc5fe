import { spawnSync } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { Command, CommandError, PidFile } from 'vircommand';
import { expect, test } from 'vitest';
import { native } from '../../src/native/load.js';
import { rejection } from '../helpers/tools.js';

/** Turns text red, sets the title of the window, takes the cursor back, rings the bell, clears the screen in one byte, and turns the text around. */
const BAD = '\x1b[31m\x1b]0;title\x07\r\x9b2J\u202e';
const SHOWN = String.raw`\x1b[31m\x1b]0;title\x07\r\x9b2J\u202e`;

/** All that would drive a terminal. Line breaks and tabs may be. */
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/;

const DRIVES = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/;

const ways: readonly (readonly [title: string, way: () => Promise<unknown>])[] = [
  ['a mistake', () => new Command(BAD).timeout(-1).run()],
  ['a mistake in a value', () => new Command('true').envPass(`${BAD}=`).run()],
  ['a program that PATH does not have', () => new Command(BAD).run()],
  ['a path', () => new Command(`/nowhere/${BAD}`).run()],
  ['an argument', () => new Command('/nowhere/x', BAD).run()],
  ['a directory', () => new Command('true').workingDirectory(`/nowhere/${BAD}`).run()],
  ['a file', () => new Command('true').inputFile(`/nowhere/${BAD}`).run()],
  ['a reason to abort', () => new Command('true').abortSignal(AbortSignal.abort(BAD)).run()],
  ['a failed program and what it said', () => new Command('sh', '-c', 'printf %s "$1" >&2; exit 1', 'sh', BAD).run()],
  ['a pidfile that is not there', () => PidFile.read(`/nowhere/${BAD}`)],
];

for (const engine of ['native', 'portable']) {
  test.for(ways)(
    `no error drives a terminal, by its message, its stack or its printing: %s (${engine})`,
    async ([, way], { skip }) => {
      if (engine === 'native' && typeof native === 'string') skip(native);
      process.env['VIRCOMMAND_ENGINE'] = engine;
      const error = await rejection(CommandError, way());
      expect(error.message).not.toMatch(CONTROLS);
      expect(error.message.toLowerCase()).toContain(SHOWN.slice(0, 8));
      expect(error.stack).not.toMatch(CONTROLS);
      // Node escapes what is in properties, and lets pass what turns text around.
      expect(inspect(error)).not.toMatch(DRIVES);
      expect(String(error)).not.toMatch(CONTROLS);
    },
  );
}

test('nor does what console.log prints of a command, a child or a result, nor what explain() tells', async () => {
  const command = new Command('sh', '-c', 'exec sleep 600', BAD);
  expect(inspect(command)).not.toMatch(CONTROLS);
  expect(command.explain()).not.toMatch(CONTROLS);
  const child = await command.runAsync();
  expect(inspect(child)).not.toMatch(CONTROLS);
  await child.free();
  expect(inspect(await child.wait({ check: false }).catch((error: unknown) => error))).not.toMatch(DRIVES);
  expect(inspect(await new Command('sh', '-c', ':', BAD).run())).not.toMatch(CONTROLS);
  expect(inspect(new Command('sh', '-c', 'two\nlines'))).toBe("Command { sh -c 'two\nlines' }");
});

test('nor does a line of NODE_DEBUG=vircommand', () => {
  const library = pathToFileURL(fileURLToPath(new URL('../../dist/index.js', import.meta.url))).href;
  const program = `
    import { Command } from ${JSON.stringify(library)};
    await new Command('sh', '-c', ':', ${JSON.stringify(BAD)}).run();
    await new Command('/nowhere/x', ${JSON.stringify(BAD)}).run().catch(() => undefined);`;
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    env: { ...process.env, NODE_DEBUG: 'vircommand', NO_COLOR: '1' },
  });
  expect(stderr.match(/^VIRCOMMAND/gm)).toHaveLength(3);
  expect(stderr).toContain(SHOWN);
  expect(stderr).not.toMatch(CONTROLS);
});

test('a daemon and its pidfile are printed so as well', async () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'vircommand-terminal-')));
  try {
    const file = join(directory, 'bad\x1b[31m.pid');
    const daemon = await new Command('true').daemonize().pidFile(file).run();
    expect(inspect(daemon)).toBe(
      `DaemonResult { true, pid ${daemon.pid}, pidfile '${directory}/${String.raw`bad\x1b[31m.pid`}' }`,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});
