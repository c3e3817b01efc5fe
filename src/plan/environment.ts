import type { Host } from '../host/host.js';
import type { CommandSpec } from '../spec/spec.js';
import { type ByteText, toBytes } from '../text/bytes.js';
import type { PlannedDescriptor } from './descriptors.js';
import type { LaunchPlan, PlanOptions } from './launch-plan.js';

/** A property that is worked out when somebody asks for it. One getter serves all plans: each with a getter of its own would be an object of another shape. */
function late<Name extends 'argv' | 'envp'>(
  name: Name,
  work: (plan: LaunchPlan) => LaunchPlan[Name],
): PropertyDescriptor {
  return {
    configurable: true,
    enumerable: true,
    get(this: LaunchPlan) {
      const value = work(this);
      Object.defineProperty(this, name, { value, enumerable: true });
      return value;
    },
  };
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
): PropertyDescriptor {
  if (inherited === undefined || spec.env !== undefined || spec.listenFds !== undefined)
    return { value: planEnvironment(spec, host), enumerable: true };
  if (descriptors.some(({ source }) => source.kind === 'file')) return { value: inherited(), enumerable: true };
  let property = lateVariables.get(inherited);
  if (property === undefined) lateVariables.set(inherited, (property = late('envp', inherited)));
  return property;
}

function planEnvironment(spec: CommandSpec, host: Host): readonly Uint8Array[] {
  const variables = new Map<string, ByteText>();
  if (spec.env !== undefined) {
    for (const [name, value] of spec.env) variables.set(name, value);
  } else {
    for (const [name, value] of Object.entries(host.env)) if (value !== undefined) variables.set(name, value);
  }
  if (spec.listenFds !== undefined) {
    // What this process was itself given by socket activation is not meant for its child.
    variables.delete('LISTEN_PID');
    variables.delete('LISTEN_FDNAMES');
    variables.set('LISTEN_FDS', String(spec.listenFds.length));
  }
  return Array.from(variables, ([name, value]) =>
    typeof value === 'string'
      ? Buffer.from(`${name}=${value}`)
      : Buffer.concat([Buffer.from(`${name}=`), toBytes(value)]),
  );
}
