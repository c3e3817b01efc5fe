import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dryRun } from 'vircommand/testing';
import { Firewall, FirewallError, type Rule } from '../../examples/firewall/driver.js';

// How a firewall driver is tested: every test reads as what the driver would have said to iptables, and no process is started.

const dns: Rule = {
  layer: 'ipv4',
  table: 'filter',
  chain: 'INPUT',
  words: ['--in-interface', 'virbr0', '--protocol', 'udp', '--dport', '53', '--jump', 'ACCEPT'],
};
const dns6: Rule = { ...dns, layer: 'ipv6' };
const forward: Rule = {
  layer: 'ipv4',
  table: 'filter',
  chain: 'FORWARD',
  words: ['--out-interface', 'virbr0', '--match', 'comment', '--comment', 'to the guests', '--jump', 'ACCEPT'],
};

const started: unknown[] = [];
const onStart = (message: unknown) => void started.push(message);
beforeAll(() => subscribe('child_process', onStart));
afterAll(() => {
  unsubscribe('child_process', onStart);
  expect(started).toEqual([]);
});

test('rules are inserted in their order, and each waits for the lock of the tables', async () => {
  using dry = dryRun({ strict: true });
  await new Firewall().apply([dns, dns6, forward]);
  expect(dry.commands).toEqual([
    '/usr/sbin/iptables -w --table filter --insert INPUT --in-interface virbr0 --protocol udp --dport 53 --jump ACCEPT',
    '/usr/sbin/ip6tables -w --table filter --insert INPUT --in-interface virbr0 --protocol udp --dport 53 --jump ACCEPT',
    "/usr/sbin/iptables -w --table filter --insert FORWARD --out-interface virbr0 --match comment --comment 'to the guests' --jump ACCEPT",
  ]);
});

test('a rule that is refused takes back those before it, the latest first, and the error says why', async () => {
  using dry = dryRun({
    strict: true,
    respond: ({ argv }) =>
      argv.includes('FORWARD') && argv.includes('--insert')
        ? { exitCode: 4, stderr: 'iptables: Resource temporarily unavailable.\n' }
        : {},
  });
  const problem = await new Firewall().apply([dns, dns6, forward]).catch((error: unknown) => error);

  expect(problem).toBeInstanceOf(FirewallError);
  expect((problem as Error).message).toBe(
    "`iptables -w --table filter --insert FORWARD --out-interface virbr0 --match comment --comment 'to the guests' --jump ACCEPT` " +
      'was refused: iptables: Resource temporarily unavailable.',
  );
  expect(dry.commands.slice(3)).toEqual([
    '/usr/sbin/ip6tables -w --table filter --delete INPUT --in-interface virbr0 --protocol udp --dport 53 --jump ACCEPT',
    '/usr/sbin/iptables -w --table filter --delete INPUT --in-interface virbr0 --protocol udp --dport 53 --jump ACCEPT',
  ]);
});

test('a rule that is not there can be removed', async () => {
  using dry = dryRun({
    strict: true,
    respond: () => ({ exitCode: 1, stderr: 'iptables: Bad rule (does a matching rule exist in that chain?).\n' }),
  });
  await new Firewall().remove([forward]);
  expect(dry.commands).toHaveLength(1);
});

test('two lists at the same time do not mix', async () => {
  using dry = dryRun({ strict: true });
  const firewall = new Firewall();
  await Promise.all([firewall.apply([dns, dns6]), firewall.remove([dns, dns6])]);
  expect(dry.specs.map(({ argv }) => argv[4])).toEqual(['--insert', '--insert', '--delete', '--delete']);
});
