import { readFileSync } from 'node:fs';
import { Command } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { operationsOf } from '../../src/plan/operations.js';
import { planLaunch } from '../../src/plan/plan-launch.js';
import type { Step } from '../../src/plan/step-table.js';
import { type ChildStep, childSteps, parentSteps, stepNames } from '../../src/text/step-names.js';
import type { Operation } from '../../src/wire/encode.js';
import { hostWith } from '../helpers/host.js';
import { root } from '../helpers/native.js';

const read = (file: string) => readFileSync(`${root}/src/native/child/${file}`, 'utf8');
const listed = Array.from(
  read('steps.h').matchAll(/^ +STEP\((\w+), "([\w-]+)", (\w+)\)/gm),
  ([, name = '', text = '', operand = '']) => ({ name, text, operand }),
);

test('steps.h and step-names.ts hold the same names in the same order', () => {
  expect(listed.map(({ text }) => text)).toEqual(stepNames);
});

test('the names in C are those of the steps, in capitals', () => {
  expect(listed.map(({ name }) => name)).toEqual(stepNames.map((name) => name.toUpperCase().replaceAll('-', '_')));
});

test('steps.h lists nothing that the test does not read', () => {
  expect(read('steps.h').match(/\bSTEP\(/g)).toHaveLength(listed.length);
});

test('child.c performs every step that a plan may hold, and no other', () => {
  const code = read('child.c');
  const cases = Array.from(code.matchAll(/case STEP_(\w+):/g), ([, name = '']) => name);
  // The fork of a daemon is no case: it must not return from a function whose stack both processes use.
  expect(code).toContain('operation->code == STEP_DAEMON_FORK ? fork_daemon(');
  const wanted = listed.filter(({ operand }) => operand !== 'NEVER').map(({ name }) => name);
  expect(new Set([...cases, 'DAEMON_FORK'])).toEqual(new Set(wanted));
});

describe('the third column of steps.h is what the table of steps writes for', () => {
  const numbers = {
    moves: [{ from: 9, to: 1 }],
    here: { from: 8, to: 3 },
    terminal: 9,
    parent: 1,
    handshake: { ready: 5, go: 6 },
    report: 7,
  };
  const plans = [
    new Command('/prog').daemonize().outputFile('/log').pidFile('p').newSession(),
    new Command('/prog').terminal(),
    new Command('/prog').inheritTerminal(),
    new Command('./prog')
      .cgroup('/sys/fs/cgroup/x')
      .processGroup()
      .umask(0)
      .nice(0)
      .oomScoreAdjust(0)
      .runAlone()
      .preExecHook(() => 0)
      .listenFds(0)
      .selinuxLabel('label')
      .appArmorProfile('profile')
      .limit('core', 0)
      .uid(0)
      .gid(0)
      .groups([])
      .clearCaps()
      .allowCap('CAP_KILL')
      .workingDirectory('sub')
      .noNewPrivileges()
      .dieWithParent()
      .requireHandshake(),
  ].map((command) => planLaunch(command.spec(), hostWith(), { mode: 'run' }));
  const found = new Map<ChildStep, { plan: (typeof plans)[number]; step: Step }>([
    ['ptrace', { plan: plans[0]!, step: { step: 'ptrace', by: 'exec' } }],
  ]);
  for (const plan of plans) for (const step of plan.steps) found.set(step.step, { plan, step });

  /** The kind that an operation is of, by what it carries. */
  function kindOf({ code, a, b, text, count }: Operation): string {
    if (code === 'listen_pid') return a === undefined || text !== undefined ? '' : 'VARIABLE';
    if (Array.isArray(text)) return 'ARRAY';
    if (typeof text === 'string') return b === undefined ? 'TEXT' : code === 'execve' ? 'PROGRAM' : 'PATH';
    return a === undefined && b === undefined && count === undefined ? 'NOTHING' : 'NUMBERS';
  }

  test.each(listed.slice(parentSteps.length))('$text: $operand', ({ text, operand }) => {
    const one = found.get(text as ChildStep);
    expect(one, 'neither plan has this step').toBeDefined();
    const { operations } = operationsOf(one!.plan, [one!.step], 0, numbers);
    expect(operations.length).toBeGreaterThan(0);
    // The hook runs in a Node process, and no plan of the child has it.
    for (const operation of operations) expect(kindOf(operation)).toBe(text === 'hook' ? 'NOTHING' : operand);
    if (text === 'hook') expect(operand).toBe('NEVER');
  });

  test('and a step of this process is none of the child', () => {
    expect(listed.slice(0, parentSteps.length).map(({ operand }) => operand)).toEqual(parentSteps.map(() => 'NEVER'));
    expect(found.size).toBe(childSteps.length);
  });
});
