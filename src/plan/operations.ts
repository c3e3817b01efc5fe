import { Buffer } from 'node:buffer';
import { bare } from '../spec/bare.js';
import { type Operand, type Operation, operation } from '../wire/encode.js';
import { type Numbers, rowOf, type Step, type Surroundings } from './step-table.js';

/** Wide enough for every pid; the child writes its own into it. */
const LISTEN_PID_ROOM = `LISTEN_PID=${'0'.repeat(20)}`;

/**
 * The operations of some of a plan's steps, the first of which stands at `offset` in the plan, and the variables to execute with;
 * with `inherits`, those of this process, which need not be copied.
 */
export function operationsOf(
  plan: Surroundings,
  steps: readonly Step[],
  offset: number,
  numbers: Numbers,
  inherits = false,
): { envp: readonly Uint8Array[] | 'inherited'; operations: Operation[] } {
  const operations: Operation[] = [];
  const given = bare(numbers);
  let place = offset;
  let listens = false;
  for (const step of steps) {
    const operands = rowOf(step).encode(step, given, plan);
    if (isList(operands)) for (const operand of operands) operations.push(operation(step.step, place, operand));
    else operations.push(operation(step.step, place, operands));
    listens ||= step.step === 'listen_pid';
    place += 1;
  }
  return {
    envp: inherits ? 'inherited' : listens ? [...plan.envp, Buffer.from(LISTEN_PID_ROOM)] : plan.envp,
    operations,
  };
}

const isList: (operands: Operand | readonly Operand[]) => operands is readonly Operand[] = Array.isArray;
