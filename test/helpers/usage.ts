import { Command, UsageError } from '../../src/index.js';

/** A caller in JavaScript can say anything. */
export const anything = (value: unknown) => value as never;

/** The methods of a command that say nothing: they look at it, copy it or run it. */
export const lookingMethods: readonly string[] = [
  'constructor',
  'clone',
  'prepare',
  'toString',
  'writeArgLog',
  'binaryPath',
  'spec',
  'plan',
  'explain',
  'run',
  'runAsync',
  'runSync',
  'exec',
  'argList',
  'lines',
  'jsonLines',
  'runRegex',
  'runNul',
  'matches',
  'rows',
];

/** The mistakes of a command, as its plan tells them. */
export function usageError(build: (command: Command) => unknown, command = new Command('prog')): UsageError {
  build(command);
  try {
    command.plan();
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error('no mistake was found');
}
