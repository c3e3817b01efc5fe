import { dryRun, type PlayedProgram, running, type RunningOptions } from '../../src/testing.js';

/** A dry run that answers every command with a program that goes on. The last one is given by `last()`. */
export function playing(options?: RunningOptions) {
  const programs: PlayedProgram[] = [];
  const dry = dryRun({
    strict: true,
    respond: () => {
      programs.push(running(options));
      return programs.at(-1);
    },
  });
  return { dry, last: () => programs.at(-1)! };
}
