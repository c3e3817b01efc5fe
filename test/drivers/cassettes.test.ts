import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Command, ExitError } from 'vircommand';
import { type Cassette, cassette } from 'vircommand/testing';
import { freePort, quietOn } from '../../examples/dnsmasq-parts.js';
import { edit, runJobs } from '../../examples/drivers/cli.js';
import { ensureRule, removeTable, replaceTable, tables } from '../../examples/drivers/firewall.js';
import { runHook } from '../../examples/drivers/hooks.js';
import { Machine } from '../../examples/drivers/machine.js';
import { Network } from '../../examples/drivers/network.js';
import { backUp, usersLike } from '../../examples/drivers/pipeline.js';
import { convertImage, createImage, mountAt, virtualSize, volumes } from '../../examples/drivers/storage.js';
import { Supervisor } from '../../examples/drivers/supervisor.js';
import { Firewall, FirewallError } from '../../examples/firewall/driver.js';
import { eventually, NOWHERE, rejection, sh, useDirectory, writeProgram } from '../helpers/tools.js';

/*
 * Every driver of the examples, on a machine without its programs. `recorded` holds what the real ones have said; to record it anew, on a machine that
 * has them: VIRCOMMAND_CASSETTE=record npx vitest run test/drivers/cassettes.test.ts. What stands in `by-hand` was written after the manuals of programs that were
 * not at hand: it shows that a driver understands such words, and not that a program says them.
 */

const path = useDirectory();
const place = (name: string): string => fileURLToPath(new URL(`cassettes/${name}.cassette`, import.meta.url));

/** Records where that is asked for; else nothing may be started, and no program can be found. */
function tell(name: string, mode?: 'replay'): Cassette {
  const tape = cassette(place(name), { mode });
  if (tape.mode === 'replay') vi.stubEnv('PATH', NOWHERE);
  return tape;
}

const started: unknown[] = [];
const onStart = (message: unknown) => void started.push(message);
beforeEach(() => subscribe('child_process', onStart));
afterEach(() => {
  unsubscribe('child_process', onStart);
  vi.unstubAllEnvs();
});
const nothingWasStarted = (tape: Cassette): void => {
  if (tape.mode === 'replay') expect(started).toEqual([]);
  started.length = 0;
};

describe('with what the programs have said', () => {
  test('network: dnsmasq is started, met again, reloaded and stopped, and refuses a configuration', async () => {
    const configFile = path('default.conf');
    writeFileSync(configFile, [...quietOn(await freePort()), ''].join('\n'));
    await using tape = tell('recorded/network');
    const network = new Network('default', { configFile, directory: path() });
    const pid = await network.start();
    expect([(await network.open())?.pid, await network.reload()]).toEqual([pid, true]);
    await expect(network.start()).rejects.toThrow(`The network has a server already, process ${pid}.`);
    await network.stop();
    expect([await network.open(), await network.reload()]).toEqual([undefined, false]);
    writeFileSync(configFile, 'no-such-word\n');
    expect((await rejection(ExitError, network.start())).message).toContain('bad option at line 1');
    nothingWasStarted(tape);
  });

  test('pipeline: a backup and its checksum, and users that match', async () => {
    writeFileSync(path('image'), 'an image\n');
    writeFileSync(path('passwd'), 'b:1\nab:2\nc:3\n');
    await using tape = tell('recorded/pipeline');
    expect(await backUp(path('image'), path('copy'))).toMatch(/^[0-9a-f]{64}$/);
    const error = await rejection(ExitError, backUp(path('absent'), path('copy')));
    expect([error.stage, error.message]).toEqual([0, expect.stringContaining('No such file or directory')]);
    if (tape.mode === 'record') writeFileSync(path('passwd'), 'b:1\nab:2\nc:3\n');
    expect(await usersLike('b', path('passwd'))).toEqual(['ab', 'b']);
    expect(await usersLike('x', path('passwd'))).toEqual([]);
    nothingWasStarted(tape);
  });

  test('hooks: one says what it wants changed, and says no', async () => {
    const tape = tell('recorded/hooks');
    const script =
      '#!/bin/sh\ncase "$2" in migrate) echo "not on Sundays" >&2; exit 3;; esac\necho "<!-- seen -->"; cat\n';
    writeProgram(path('qemu'), tape.mode === 'record' ? script : 'it is asked for, and not run\n');
    expect(await runHook(path(), 'qemu', ['web', 'start', '-'], '<domain/>\n')).toBe('<!-- seen -->\n<domain/>\n');
    const failed = await rejection(ExitError, runHook(path(), 'qemu', ['web', 'migrate', '-'], '<domain/>\n'));
    expect(failed.message).toContain('not on Sundays');
    chmodSync(path('qemu'), 0o644);
    expect(await runHook(path(), 'qemu', ['web', 'start', '-'], '')).toBe('');
    nothingWasStarted(tape);
    await tape.close();
  });

  test('supervisor: a program that fails is started anew, and stopped as it wants to be', async () => {
    await using tape = tell('recorded/supervisor');
    const script =
      'if [ -e "$1" ]; then trap "exit 0" INT; : >"$2"; while :; do sleep 0.01; done; fi; : >"$1"; echo "the first fails" >&2; exit 1';
    const ends: unknown[] = [];
    const command = sh(script, path('was-here'), path('is-ready')).stopSequence([['SIGINT', 20_000]]);
    const supervisor = new Supervisor(command, { longestPauseMs: 10, onEnd: (error) => ends.push(error) });
    await eventually('it runs anew', () => ends.length === 1 && supervisor.pid);
    if (tape.mode === 'record') await eventually('it can be stopped', () => existsSync(path('is-ready')));
    await supervisor.stop();
    expect(ends).toEqual([expect.objectContaining({ message: expect.stringContaining('the first fails') as string })]);
    nothingWasStarted(tape);
  });

  test('command-line tool: jobs run, two at a time, and an editor gets the file', async () => {
    writeFileSync(path('a b'), '');
    await using tape = tell('recorded/cli');
    const jobs = [1, 2, 3].map((code) => sh('echo "$1"', String(code)).outputBuffer());
    const results = await runJobs(jobs, 2, () => undefined);
    expect(results.map(({ stdout }) => stdout)).toEqual(['1\n', '2\n', '3\n']);
    expect([await edit(path('a b'), 'test -f'), await edit(path('absent'), 'test -f')]).toEqual([true, false]);
    nothingWasStarted(tape);
  });

  test('storage: findmnt tells what is mounted', async () => {
    await using tape = tell('recorded/mounts');
    expect(await mountAt('/proc')).toEqual({ source: 'proc', fstype: 'proc' });
    expect(await mountAt('/proc/self')).toBe(undefined);
    nothingWasStarted(tape);
  });
});

describe('with words that were written by hand', () => {
  test('storage: an image is made, looked at and converted, and volumes are listed', async () => {
    await using tape = tell('by-hand/images', 'replay');
    await createImage('/images/a b.qcow2', '1G');
    expect(await virtualSize('/images/a b.qcow2')).toBe(1_073_741_824);
    const seen: number[] = [];
    await convertImage('/images/a b.qcow2', '/images/c.qcow2', (percent) => seen.push(percent));
    expect(seen).toEqual([0, 50.5, 100]);
    expect((await rejection(ExitError, virtualSize('/images/absent'))).message).toContain(
      "Could not open '/images/absent'",
    );
    expect([await volumes('guests'), await volumes('absent')]).toEqual([['one', 'two'], []]);
    nothingWasStarted(tape);
  });

  test('machine: QEMU is started, answers, and is destroyed', async () => {
    await using tape = tell('by-hand/machine', 'replay');
    const server = createServer((client) => client.on('error', () => undefined).end('{"QMP": {"version": {}}}\r\n'));
    onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => server.listen(path('web.qmp'), resolve));
    const machine = new Machine('web', path());
    const pid = await machine.start(['-m', '512']);
    expect((await machine.open())?.pid).toBe(pid);
    await machine.destroy();
    expect(await machine.open()).toBe(undefined);
    nothingWasStarted(tape);
  });

  test('firewall: a table comes and goes, a mistake is told, and a rule is added once', async () => {
    await using tape = tell('by-hand/nftables', 'replay');
    await replaceTable('guests', 'chain input { type filter hook input priority 0; }');
    expect(await tables()).toEqual(['guests']);
    expect((await rejection(ExitError, replaceTable('guests', 'foo'))).message).toContain(
      'syntax error, unexpected newline',
    );
    await removeTable('guests');
    await ensureRule('INPUT', '--jump', 'ACCEPT');
    await ensureRule('INPUT', '--jump', 'ACCEPT');
    nothingWasStarted(tape);
  });

  test('the firewall that takes back what it did: the second rule is refused', async () => {
    await using tape = tell('by-hand/iptables', 'replay');
    const rule = { layer: 'ipv4', table: 'filter' } as const;
    const refused = new Firewall().apply([
      { ...rule, chain: 'INPUT', words: ['--jump', 'ACCEPT'] },
      { ...rule, chain: 'NOWHERE', words: ['--jump', 'ACCEPT'] },
    ]);
    expect((await rejection(FirewallError, refused)).message).toContain('No chain/target/match by that name');
    nothingWasStarted(tape);
  });
});

test('a word that a driver says otherwise than it was recorded fails', async () => {
  const tape = tell('by-hand/iptables', 'replay');
  await new Command('/usr/sbin/iptables', '-w', '--list').run().catch(() => undefined);
  await expect(tape.close()).rejects.toThrow("no entry is this command; entry 1 has '--table' as its word 2");
});
