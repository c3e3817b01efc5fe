import { readFileSync } from 'node:fs';
import { Command } from 'vircommand';
import type { CapabilityName } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { capabilityNames } from '../../src/text/capabilities.js';
import {
  asNobody,
  bits,
  fieldsOf,
  inParent,
  launchFailure,
  needsNobody,
  needsRoot,
  NOBODY,
  statusOf,
  useNativeEngine,
  type Library,
} from '../helpers/native.js';

useNativeEngine();

const SETS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'] as const;
type Sets = Record<(typeof SETS)[number], bigint>;

const setsIn = (status: Record<string, string>): Sets =>
  Object.fromEntries(SETS.map((set) => [set, bits(status[set])])) as Sets;
const setsOf = async (build: (command: Command) => Command): Promise<Sets> => setsIn(await statusOf(build));

const bitOf = (...names: CapabilityName[]): bigint =>
  names.reduce((set, name) => set | (1n << BigInt(capabilityNames.indexOf(name))), 0n);
const every = (set: bigint): Sets => ({ CapInh: set, CapPrm: set, CapEff: set, CapBnd: set, CapAmb: set });

const own = (): Sets => setsIn(fieldsOf(readFileSync('/proc/self/status', 'utf8')));

/** The capabilities that this process may give away; a sandbox may have taken some from it. */
const ownNames = capabilityNames.filter((name) => (own().CapPrm & own().CapBnd & bitOf(name)) !== 0n);

describe('as root', () => {
  test('clearCaps() takes everything, of every set, although the program is still root', async ({ skip }) => {
    needsRoot(skip);
    expect(await setsOf((command) => command.clearCaps())).toEqual(every(0n));
    expect(own().CapEff).not.toBe(0n);
  });

  test('without it, a program of root has what this process has', async ({ skip }) => {
    needsRoot(skip);
    const { CapPrm, CapEff, CapBnd } = await setsOf((command) => command);
    expect([CapPrm, CapEff, CapBnd]).toEqual([own().CapPrm, own().CapEff, own().CapBnd]);
  });

  test('allowCap() leaves one, in every set', async ({ skip }) => {
    needsRoot(skip);
    expect(await setsOf((command) => command.clearCaps().allowCap('CAP_NET_BIND_SERVICE'))).toEqual(
      every(bitOf('CAP_NET_BIND_SERVICE')),
    );
  });

  test('allowCap() gives it to another user, in every set', async ({ skip }) => {
    needsRoot(skip);
    const caps = ['CAP_NET_ADMIN', 'CAP_CHOWN', 'CAP_SETFCAP'] as const;
    const status = await statusOf((command) =>
      caps.reduce((so, cap) => so.allowCap(cap), command.uid(NOBODY).gid(NOBODY).clearCaps()),
    );
    expect(status['Uid']).toBe([NOBODY, NOBODY, NOBODY, NOBODY].join('\t'));
    expect(setsIn(status)).toEqual(every(bitOf(...caps)));
  });

  test('a user without allowCap() has none, and no more than clearCaps() in the bounding set', async ({ skip }) => {
    needsRoot(skip);
    expect(await setsOf((command) => command.user('nobody').clearCaps())).toEqual(every(0n));
  });

  test.for(ownNames)('%s can be given alone', async (name, { skip }) => {
    needsRoot(skip);
    expect(await setsOf((command) => command.uid(NOBODY).gid(NOBODY).allowCap(name))).toEqual(every(bitOf(name)));
  });

  test('all of them can be given together', async ({ skip }) => {
    needsRoot(skip);
    expect(
      await setsOf((command) => ownNames.reduce((so, name) => so.allowCap(name), command.uid(NOBODY).gid(NOBODY))),
    ).toEqual(every(bitOf(...ownNames)));
  });

  test('one that this process does not have is a failure of that step', async ({ skip }) => {
    needsRoot(skip);
    const missing =
      capabilityNames.find((name) => !ownNames.includes(name)) ?? skip('this process has every capability');
    expect(await launchFailure(new Command('true').allowCap(missing))).toMatchObject({
      step: 'capset',
      errno: 'EPERM',
    });
  });

  test('an allowed capability survives noNewPrivileges()', async ({ skip }) => {
    needsRoot(skip);
    const status = await statusOf((command) =>
      command.uid(NOBODY).gid(NOBODY).allowCap('CAP_NET_RAW').noNewPrivileges(),
    );
    expect([setsIn(status), status['NoNewPrivs']]).toEqual([every(bitOf('CAP_NET_RAW')), '1']);
  });
});

/** What a program of another parent has, or how it failed to start. */
async function tellCapabilities(
  { Command: Program }: Library,
  asked: { allow: readonly CapabilityName[]; groups?: boolean },
) {
  const command = new Program('cat', '/proc/self/status').clearCaps().outputBuffer();
  for (const cap of asked.allow) command.allowCap(cap);
  if (asked.groups === true) command.uid(1234).gid(1234);
  return command.run().then(
    ({ stdout }) => ({ status: stdout }),
    (error: unknown) => ({ failure: String(error) }),
  );
}

describe('as nobody', () => {
  test('clearCaps() is accepted: there is nothing to lose, and the bounding set is left, as in libvirt', async ({
    skip,
  }) => {
    needsNobody(skip);
    const { status = '' } = (await inParent(tellCapabilities, { allow: [] }, { through: asNobody })) as {
      status?: string;
    };
    const { CapBnd, ...others } = setsIn(fieldsOf(status));
    expect(others).toEqual({ CapInh: 0n, CapPrm: 0n, CapEff: 0n, CapAmb: 0n });
    expect(CapBnd).toBe(own().CapBnd);
  });

  test('allowCap() is refused: what was asked for could not be given', async ({ skip }) => {
    needsNobody(skip);
    expect(await inParent(tellCapabilities, { allow: ['CAP_NET_RAW'] }, { through: asNobody })).toEqual({
      failure:
        'LaunchError: Cannot start `cat /proc/self/status`: this process may not drop all capabilities but CAP_NET_RAW from its bounding set (capbset_drop: EPERM). Run as root, or with the capability CAP_SETPCAP.',
    });
  });

  test('clearCaps() with another user is refused too', async ({ skip }) => {
    needsNobody(skip);
    const { failure } = (await inParent(tellCapabilities, { allow: [], groups: true }, { through: asNobody })) as {
      failure?: string;
    };
    expect(failure).toMatch(/\((?:capbset_drop|setgroups): EPERM\)/);
  });

  test('a parent with some ambient capabilities loses them by clearCaps()', async ({ skip }) => {
    needsNobody(skip);
    const through = [...asNobody, '--inh-caps', '-all,+net_raw', '--ambient-caps', '-all,+net_raw'];
    const { status = '' } = (await inParent(tellCapabilities, { allow: [] }, { through })) as { status?: string };
    const { CapInh, CapPrm, CapEff, CapAmb } = setsIn(fieldsOf(status));
    expect([CapInh, CapPrm, CapEff, CapAmb]).toEqual([0n, 0n, 0n, 0n]);
  });
});
