import { childSteps } from '../text/step-names.js';
import { resolveIds } from './ids.js';
import { type Decided, type Step, stepTable } from './step-table.js';

/** The steps of a launch, in their order: each row of the table says whether the launch has its step. */
export function planSteps(asked: Omit<Decided, 'ids'>): readonly Step[] {
  const decided = { ...asked, ids: resolveIds(asked.spec, asked.host, asked.subject) };
  const steps: Step[] = [];
  for (const name of childSteps) {
    const planned = stepTable[name].plan(decided);
    if (planned === undefined) continue;
    if (isList(planned)) steps.push(...planned);
    else steps.push(planned);
  }
  return steps;
}

const isList: (planned: Step | readonly Step[]) => planned is readonly Step[] = Array.isArray;
