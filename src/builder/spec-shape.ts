import type { CommandSpec } from '../spec/spec.js';
import { describeKind } from '../text/bytes.js';

/** What of a value keeps it from being read as a spec at all. What it says is checked call by call. */
export function shapeProblem(spec: unknown): string | undefined {
  if (typeof spec !== 'object' || spec === null) return `a spec is an object, and this is ${describeKind(spec)}`;
  const { version, argv, stdin, stdout, stderr, ...rest } = spec as Partial<Record<keyof CommandSpec, unknown>>;
  if (version !== 1) return 'it is no spec of the version 1, as spec() gives it';
  if (!Array.isArray(argv)) return 'it has no argv, the array of the program and its arguments';
  if (![stdin, stdout, stderr].every((stream) => typeof stream === 'object' && stream !== null))
    return 'it lacks one of stdin, stdout and stderr';
  const lists = [
    'secretArgs',
    'env',
    'descriptors',
    'listenFds',
    'limits',
    'allowCaps',
    'groups',
    'stopSequence',
  ] as const;
  const wrong = lists.find((name) => rest[name] !== undefined && !Array.isArray(rest[name]));
  return wrong === undefined ? undefined : `its field ${wrong} is no array`;
}
