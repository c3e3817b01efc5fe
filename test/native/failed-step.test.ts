import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readdirSync } from 'node:fs';
import { Command, CommandError, type ErrorEvent, type LaunchEvent, LaunchError } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { rejection } from '../helpers/tools.js';
import { useNativeEngine } from '../helpers/native.js';

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
