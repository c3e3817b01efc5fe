import { existsSync, writeFileSync } from 'node:fs';
import { Resolver } from 'node:dns/promises';
import { describe, expect, test } from 'vitest';
import { ExitError } from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { findDnsmasq, freePort, quietOn } from '../../examples/dnsmasq-parts.js';
import { Network } from '../../examples/drivers/network.js';
import { useNativeEngine } from '../helpers/native.js';
import { eventually, isRunning, rejection, useDirectory } from '../helpers/tools.js';

const path = useDirectory();

describe('in a dry run', () => {
  const network = (name = 'default') => new Network(name, { configFile: '/etc/default.conf' });

  test('the server is started, met again, reloaded and stopped', async () => {
    using dry = dryRun({ strict: true });
    const pid = await network().start();
    expect(dry.commands).toEqual([
      '/usr/sbin/dnsmasq --test --conf-file=/etc/default.conf',
      '/usr/sbin/dnsmasq --keep-in-foreground --pid-file= --conf-file=/etc/default.conf',
    ]);
    // Another object, as after a restart of the driver.
    expect([(await network().open())?.pid, await network('other').open()]).toEqual([pid, undefined]);
    expect([await network().reload(), await network('other').reload()]).toEqual([true, false]);
    await expect(network().start()).rejects.toThrow(`The network has a server already, process ${pid}.`);
    await network().stop();
    expect([await network().open(), await network().reload()]).toEqual([undefined, false]);
    await network().stop();
    expect(dry.kills).toEqual([
      { call: 'signal', pid, signal: 'SIGHUP' },
      { call: 'stop', pid, signal: 'SIGTERM' },
    ]);
  });

  test('a configuration that is refused starts nothing', async () => {
    using dry = dryRun({ respond: () => ({ exitCode: 1, stderr: '\ndnsmasq: bad option at line 1\n' }) });
    expect((await rejection(ExitError, network().start())).message).toContain('bad option at line 1');
    expect(dry.commands).toHaveLength(1);
  });
});

describe('with dnsmasq itself', () => {
  useNativeEngine();

  test('a name is resolved, and another one after a reload', async ({ skip }) => {
    const program = findDnsmasq();
    if (program === undefined) return skip('dnsmasq is not installed');
    const port = await freePort();
    const configFile = path('default.conf');
    writeFileSync(configFile, [...quietOn(port), `addn-hosts=${path('hosts')}`, ''].join('\n'));
    writeFileSync(path('hosts'), '192.0.2.7 vircommand.test\n');
    const network = new Network('default', { configFile, directory: path(), program });
    const pid = await network.start();
    try {
      const resolver = new Resolver({ timeout: 500, tries: 8 });
      resolver.setServers([`127.0.0.1:${port}`]);
      const addressIs = async (address: string): Promise<boolean> =>
        resolver.resolve4('vircommand.test').then(
          ([found]) => found === address,
          () => false,
        );
      while (!(await addressIs('192.0.2.7')));
      writeFileSync(path('hosts'), '192.0.2.8 vircommand.test\n');
      expect([(await network.open())?.pid, await network.reload()]).toEqual([pid, true]);
      while (!(await addressIs('192.0.2.8')));
      await expect(network.start()).rejects.toThrow('has a server already');
    } finally {
      await network.stop();
    }
    await eventually('it has ended', () => !isRunning(pid));
    expect([existsSync(path('default.pid')), await network.open()]).toEqual([false, undefined]);
    writeFileSync(configFile, 'no-such-word\n');
    expect((await rejection(ExitError, network.start())).message).toContain('bad option');
  });
});
