import { stepTable } from '../../plan/step-table.js';
import { bare } from '../../spec/bare.js';
import { type ChildStep, childSteps } from '../../text/step-names.js';

/** What the portable engine promises less of, as sentences. `engineInfo()` tells them, and `docs/engines.md` prints them. */
export const portableLimits: readonly string[] = [
  'Descriptors that this process inherited without close-on-exec, and did not open itself, reach the program as well.',
  'A pidfile is written before run() resolves, but not locked: of two starters at the same instant the later one is ended after its start.',
  'A daemon is the leader of its session, and a child of this process until one of them ends.',
  'An error of a daemon after it has executed its program is its own: the log is the place to look.',
  'What Node made non-blocking: 0, 1 and 2 block in the program, and from then on here too; a descriptor above 2 keeps its mode.',
  'Pipes are socket pairs: a program that opens /dev/stdin or /dev/stdout by name gets ENXIO, unless it is given a file.',
  'A program that is ended by a real-time signal is reported as exited with code 0, since child_process says so.',
  'resourceUsage and coreDumped are undefined.',
  'A program whose output nobody reads any more gets ECONNRESET or EPIPE from its socket, where a pipe would give SIGPIPE.',
  "A launch copies this process's page tables and holds the event loop meanwhile: about 1 ms in a small process, over 100 ms at 4 GiB.",
];

/** The steps that `child_process` has no way to perform, each with the reason. `docs/engines.md` prints this table. */
export const portableRefusals: Readonly<Partial<Record<ChildStep, string>>> = bare(
  Object.fromEntries(
    childSteps.flatMap((step) => {
      const why = stepTable[step].refusal;
      return why === undefined ? [] : [[step, why]];
    }),
  ),
);
