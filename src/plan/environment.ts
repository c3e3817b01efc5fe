import { inspect } from 'node:util';
import type { Subject } from '../errors/command-error.js';
import { UsageError } from '../errors/usage-error.js';
import { isVariable, textOfVariable } from '../host/environment.js';
import type { Host } from '../host/host.js';
import { bare, valueDescriptor } from '../spec/bare.js';
import type { CommandSpec } from '../spec/spec.js';
import { toBytes } from '../text/bytes.js';
import type { PlannedDescriptor } from './descriptors.js';
import type { LaunchPlan, PlanOptions } from './launch-plan.js';

/** A property that is worked out when somebody asks for it. One getter serves all plans: each with a getter of its own would be an object of another shape. */
function late<Name extends 'argv' | 'envp'>(
  name: Name,
  work: (plan: LaunchPlan) => LaunchPlan[Name],
): PropertyDescriptor {
  return bare({
    configurable: true,
    enumerable: true,
    get(this: LaunchPlan) {
      const value = work(this);
      Object.defineProperty(this, name, valueDescriptor(value, true));
      return value;
    },
  });
}

/** The native engine writes the words of the spec where they are wanted, without a detour. */
export const lateArguments = late('argv', ({ spec }) => spec.argv.map(toBytes));

const lateVariables = new WeakMap<() => readonly Uint8Array[], PropertyDescriptor>();

/**
 * The variables as a property of the plan. Inherited ones are split when somebody asks for them: the native engine leaves them where
 * the C library has them, and this took a twentieth of a launch. They are those of the call, so nothing may be waited for until then.
 */
export function environmentOf(
  spec: CommandSpec,
  host: Host,
  descriptors: readonly PlannedDescriptor[],
  inherited: PlanOptions['inherited'],
  subject: Subject,
): PropertyDescriptor {
  if (inherited === undefined || spec.env !== undefined || spec.listenFds !== undefined)
    return valueDescriptor(planEnvironment(spec, host, inherited, subject), true);
  if (descriptors.some(({ source }) => source.kind === 'file')) return valueDescriptor(inherited(), true);
  let property = lateVariables.get(inherited);
  if (property === undefined) lateVariables.set(inherited, (property = late('envp', inherited)));
  return property;
}

/**
 * Whether the variables of a plan are right for a later launch as well: they were all said, or nobody has asked for those of this process yet.
 */
export function hasLateVariables(plan: LaunchPlan, inherited: PlanOptions['inherited']): boolean {
  const { env, envInherit, listenFds } = plan.spec;
  if (listenFds !== undefined || envInherit === true) return false;
  return (
    env !== undefined || (inherited !== undefined && Object.getOwnPropertyDescriptor(plan, 'envp')?.get !== undefined)
  );
}

function planEnvironment(
  spec: CommandSpec,
  host: Host,
  inherited: PlanOptions['inherited'],
  subject: Subject,
): readonly Uint8Array[] {
  const own = (spec.env ?? []).map(([name, value]) =>
    typeof value === 'string'
      ? Buffer.from(`${name}=${value}`)
      : Buffer.concat([Buffer.from(`${name}=`), toBytes(value)]),
  );
  const others =
    spec.env === undefined || spec.envInherit === true ? (inherited?.() ?? entriesOf(host.env, subject)) : [];
  const entries = [...others.filter((entry) => !isReplaced(entry, spec.env)), ...own];
  if (spec.listenFds === undefined) return entries;
  // What this process was itself given by socket activation is not meant for its child.
  return [...entries.filter((entry) => !isActivation(entry)), Buffer.from(`LISTEN_FDS=${spec.listenFds.length}`)];
}

/** Whether a variable that would be inherited is given another value. */
function isReplaced(entry: Uint8Array, env: CommandSpec['env'] = []): boolean {
  if (env.length === 0) return false;
  const text = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength);
  return env.some(([name]) => {
    const start = Buffer.from(`${name}=`);
    return text.subarray(0, start.length).equals(start);
  });
}

function isActivation(entry: Uint8Array): boolean {
  const text = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength).toString('latin1');
  return ['LISTEN_PID=', 'LISTEN_FDS=', 'LISTEN_FDNAMES='].some((start) => text.startsWith(start));
}

/**
 * The variables of an object, as child_process reads them: what it inherits counts too, and every value becomes text.
 *
 * @throws {UsageError} for a value that is none, as Node's own object has none.
 */
export function entriesOf(env: Readonly<Record<string, unknown>> | undefined, subject: Subject): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (const name in env) {
    const value = isVariable(env, name) ? env[name] : undefined;
    if (value === undefined) continue;
    const text = textOfVariable(value);
    const entry = typeof text === 'symbol' ? undefined : `${name}=${text}`;
    if (entry === undefined || entry.includes('\0')) {
      const wrong = entry === undefined ? 'is a symbol' : 'holds a NUL byte, which ends a string for the kernel';
      throw new UsageError(subject, [{ call: `process.env[${inspect(name)}]`, problem: `the value ${wrong}` }]);
    }
    entries.push(Buffer.from(entry));
  }
  return entries;
}
