import { Command, UsageError } from '../../src/index.js';

/** A caller in JavaScript can say anything. */
export const anything = (value: unknown) => value as never;

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
