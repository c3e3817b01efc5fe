import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readdirSync } from 'node:fs';
import { Command, CommandError, type ErrorEvent, type LaunchEvent, LaunchError } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { rejection } from '../helpers/tools.js';
import { asNobody, inParent, needsNobody, useNativeEngine } from '../helpers/native.js';

useNativeEngine();

describe('a launch that fails in its child', () => {
  const failures: readonly (readonly [name: string, build: () => Command, step: string])[] = [
    ['a program that is not there', () => new Command('/nowhere'), 'execve'],
    ['a program that nobody can execute', () => new Command('/etc/passwd'), 'execve'],
    ['a directory that is not there', () => new Command('/bin/true').workingDirectory('/nowhere'), 'chdir'],
    ['a control group that is not there', () => new Command('/bin/true').cgroup('/nowhere'), 'cgroup'],
    ['more files than the kernel allows', () => new Command('/bin/true').limit('nofile', 2 ** 40), 'prlimit'],
  ];

  test.each(failures)('%s: run() tells the same as runAsync() and runSync()', async (_name, build, step) => {
    // What the library keeps open, it opens here.
    await new Command('true').run();
    new Command('true').runSync();
    const descriptors = readdirSync('/proc/self/fd').length;
    const told = ({ message, step, errno, code, path: file, tried }: LaunchError) => ({
      message,
      step,
      errno,
      code,
      file,
      tried,
    });
    const first = told(await rejection(LaunchError, build().run()));
    expect(first.step).toBe(step);
    expect(told(await rejection(LaunchError, build().runAsync()))).toEqual(first);
    let sync: unknown;
    try {
      build().runSync();
    } catch (error) {
      sync = error;
    }
    expect(told(sync as LaunchError)).toEqual(first);
    expect(await rejection(LaunchError, build().run({ check: false })).then(told)).toEqual(first);
    expect(readdirSync('/proc/self/fd').length).toBe(descriptors);
  });

  test('is published once, whoever else listens, and never as a launch', async () => {
    const heard: string[] = [];
    const hearError = (event: unknown): void => void heard.push(`error: ${(event as ErrorEvent).error.name}`);
    const hearLaunch = (event: unknown): void => void heard.push(`launch: ${(event as LaunchEvent).command}`);
    onTestFinished(() => {
      unsubscribe('vircommand:error', hearError);
      unsubscribe('vircommand:launch', hearLaunch);
    });
    subscribe('vircommand:error', hearError);
    await rejection(CommandError, new Command('/nowhere').run());
    expect(heard).toEqual(['error: LaunchError']);
    subscribe('vircommand:launch', hearLaunch);
    await rejection(CommandError, new Command('/nowhere').run());
    expect(heard).toEqual(['error: LaunchError', 'error: LaunchError']);
  });
});

describe('a step that takes a privilege names the capability', () => {
  /** What each command is told in a process that is started so. */
  const told = (through: readonly string[]) =>
    inParent(
      async ({ Command: Program }) => {
        const outcome = (command: Command) =>
          command.run().then(
            () => 'it ran',
            (error: unknown) => String(error).replace(/^LaunchError: Cannot start `true`: /, ''),
          );
        const make = () => new Program('true');
        return [
          await outcome(make().nice(-5)),
          await outcome(make().oomScoreAdjust(-500)),
          await outcome(make().allowCap('CAP_NET_ADMIN')),
          await outcome(make().uid(5).gid(5).groups([5])),
          await outcome(make().limit('memlock', 'unlimited')),
        ];
      },
      undefined,
      { through: ['prlimit', '--memlock=65536:65536', '--nice=0:0', ...through] },
    );
  const needs = (capability: string): string => `Run as root, or with the capability ${capability}.`;

  test('that nobody has not', async ({ skip }) => {
    needsNobody(skip);
    expect(await told(asNobody)).toEqual([
      `this process may not take the nice value -5 (setpriority: EACCES). ${needs('CAP_SYS_NICE')}`,
      `this process may not take the out-of-memory score -500 (oom_score_adj: EACCES). ${needs('CAP_SYS_RESOURCE')}`,
      `this process may not drop all capabilities but CAP_NET_ADMIN from its bounding set (capbset_drop: EPERM). ${needs('CAP_SETPCAP')}`,
      `this process may not take the groups 5 (setgroups: EPERM). ${needs('CAP_SETGID')}`,
      `this process may not set the limit of memlock to unlimited (hard unlimited) (prlimit: EPERM). ${needs('CAP_SYS_RESOURCE')}`,
    ]);
  });

  // With CAP_SETPCAP the bounding set may be changed, but nobody can give what they do not have.
  test('that the program was to have, and that this process lacks itself', async ({ skip }) => {
    needsNobody(skip);
    const [, , caps] = await told([...asNobody, '--inh-caps', '-all,+setpcap', '--ambient-caps', '-all,+setpcap']);
    expect(caps).toBe(
      `this process may not give up all capabilities but CAP_NET_ADMIN (capset: EPERM). ${needs('CAP_NET_ADMIN')}`,
    );
  });
});
