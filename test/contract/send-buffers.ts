import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { Command, ExitError, LaunchError, pipeline, UsageError } from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { describe, expect, test } from 'vitest';
import { eventually, FOREVER, NOWHERE, rejection, sh, useDirectory, useProcesses } from '../helpers/tools.js';
import type { EngineUnderTest } from './engine.js';

const MiB = 1024 * 1024;
const SECRET = 'hunter2 said nobody';

/** Copies the descriptors that are named to files of the same names. */
const copying = (directory: string): Command =>
  sh('cd "$1"; shift; for fd; do cat <&"$fd" > "$fd" 2>/dev/null || cat "/dev/fd/$fd" > "$fd"; done', directory);

/** What libvirt's virCommandSetSendBuffer does, and what the docs of `sendBuffer()` promise beyond it. */
export function sendBufferContract({ name }: EngineUnderTest): void {
  const ways: readonly (readonly [string, (command: Command) => Promise<unknown>])[] = [
    ['run()', (command) => command.run()],
    ['runAsync()', async (command) => (await command.runAsync()).wait()],
    ...(name === 'native'
      ? ([['runSync()', async (command: Command) => Promise.resolve(command.runSync())]] as const)
      : []),
  ];

  describe('a send buffer', () => {
    const path = useDirectory();
    const started = useProcesses();

    test.each(ways)('is read to its end by the program, several at once, of any size, by %s', async (_way, run) => {
      const many = [
        Buffer.alloc(0),
        Buffer.from('text \0 é'),
        randomBytes(64 * 1024),
        randomBytes(MiB),
        // More than most users may have in a pipe.
        randomBytes(5 * MiB),
      ];
      const command = copying(path());
      const numbers = many.map((data) => command.sendBuffer(data));
      await run(command.args(numbers).inputBuffer('in').outputBuffer());
      expect(numbers).toEqual([3, 4, 5, 6, 7]);
      for (const [index, data] of many.entries())
        expect(readFileSync(path(String(numbers[index]))).equals(data)).toBe(true);
    });

    test('takes a number that no other descriptor has, and a number that is taken later is a mistake', async () => {
      const command = sh('cat <&4').passFd(1, { as: 3 }).outputBuffer();
      expect(command.sendBuffer('a')).toBe(4);
      expect((await command.run()).stdout).toBe('a');
      const clash = new Command('true');
      clash.sendBuffer('a');
      const error = await rejection(UsageError, clash.passFd(1, { as: 3 }).run());
      expect(error.message).toContain('each number has one source');
    });

    test('reaches a daemon', async () => {
      const daemon = sh('cat <&3 > "$1.new"; mv "$1.new" "$1"; exec sleep "$2"', path('got'), FOREVER).daemonize();
      const data = randomBytes(100_000);
      daemon.sendBuffer(data);
      const { pid } = await (daemon as unknown as Command).run();
      started(pid);
      expect(await eventually('it has read it', () => readOrNothing(path('got')))).toEqual(data);
    });

    test('reaches a stage of a pipeline', async () => {
      const both = sh('cat; cat <&3');
      both.sendBuffer('b');
      const { stdout } = await pipeline(new Command('printf', 'a'), both, new Command('cat').outputBuffer()).run();
      expect(stdout).toBe('ab');
    });

    test.each([
      ['does not read it', 'true'],
      ['closes it', 'exec 3<&-'],
      ['reads a part of it', 'head -c 10 <&3 >/dev/null'],
    ])('hurts nobody where the program %s', async (_what, script) => {
      const before = readdirSync('/proc/self/fd').length;
      const command = sh(script);
      command.sendBuffer(randomBytes(3 * MiB));
      await command.run();
      await eventually('its descriptors are closed', () => readdirSync('/proc/self/fd').length <= before);
    });

    test('hurts nobody where another process holds it and never reads', async () => {
      const command = sh('sleep "$1" >/dev/null 2>&1 & echo $!', FOREVER).outputBuffer();
      command.sendBuffer(randomBytes(3 * MiB));
      started(Number((await command.run()).stdout));
    });

    test('is nowhere to be read but in the program', async () => {
      const command = sh('exit 1').envInherit();
      command.sendBuffer(SECRET);
      const spec = command.spec();
      expect(spec).toMatchObject({ sendBuffers: [3], attached: ['sendBuffer'] });
      const failed = await rejection(ExitError, command.run());
      const missing = new Command(NOWHERE);
      missing.sendBuffer(SECRET);
      const lost = await rejection(LaunchError, missing.run());
      for (const thing of [command, spec, failed, failed.result, lost, lost.spec, command.clone()]) {
        const said = [inspect(thing, { depth: null, showHidden: true }), JSON.stringify(thing)];
        expect(said.join('')).not.toContain('hunter2');
      }
      expect(command.clone().toString()).not.toContain('hunter2');
    });

    test('is sent once, and not at all by a launch that failed; a copy has its own', async () => {
      const command = sh('cat <&3').outputBuffer();
      command.sendBuffer('a');
      const copy = command.clone();
      expect((await command.run()).stdout).toBe('a');
      const error = await rejection(UsageError, command.run());
      expect(error.message).toContain('sendBuffer(…): an earlier run has sent it, and wiped it from memory');
      expect((await copy.run()).stdout).toBe('a');
      const failing = sh('cat <&3').outputBuffer().workingDirectory(path('later'));
      failing.sendBuffer('b');
      await rejection(LaunchError, failing.run());
      await new Command('mkdir', path('later')).run();
      expect((await failing.run()).stdout).toBe('b');
    });

    test('of a caller that changes its bytes afterwards is what it was', async () => {
      const data = Buffer.from('abc');
      const command = sh('cat <&3').outputBuffer();
      command.sendBuffer(data);
      data.fill(0);
      expect((await command.run()).stdout).toBe('abc');
    });

    test('is said again to a command that comes from a spec', async () => {
      const command = sh('cat <&3').outputBuffer();
      command.sendBuffer('a');
      const again = Command.fromSpec(JSON.parse(JSON.stringify(command.spec())) as ReturnType<Command['spec']>);
      const error = await rejection(UsageError, again.run());
      expect(error.message).toContain('which no spec holds; call sendBuffer() again');
      expect(again.sendBuffer('b')).toBe(3);
      expect((await again.run()).stdout).toBe('b');
    });

    test.each([undefined, null, 1, {}, new Date(0)])('of %s is a mistake', async (data) => {
      const command = new Command('true');
      expect(command.sendBuffer(data as string)).toBe(3);
      const error = await rejection(UsageError, command.run());
      expect(error.message).toContain('sendBuffer(…): the data is');
    });

    test('is shown by a dry run, which wipes it as well', async () => {
      using dry = dryRun();
      const command = new Command('nbdkit');
      await command.arg(`password=-${command.sendBuffer(SECRET)}`).run();
      expect(dry.peekSendBuffers()).toEqual([{ command: 'nbdkit password=-3', fd: 3, data: Buffer.from(SECRET) }]);
      await rejection(UsageError, command.run());
    });
  });
}

function readOrNothing(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    // It has not come yet.
    return undefined;
  }
}
