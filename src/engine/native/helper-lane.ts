import { executedFile } from '../../plan/from-here.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { operationsOf } from '../../plan/operations.js';
import { encode } from '../../wire/encode.js';
import { lowestUnused } from '../../wire/moves.js';
import { type Descriptors, type Ends, helperMoves } from './ends.js';
import { closedByProgram, LANE_STEP, type PreparedChild } from './prepared-child.js';

/**
 * Prepares a child that performs the first steps in shared memory, up to the point where all descriptors are in place, and
 * then executes the helper, which performs the rest in memory of its own.
 */
export function prepareWithHelper(
  plan: LaunchPlan,
  ends: Ends,
  { helper, descriptors }: { helper: string; descriptors: Descriptors },
): PreparedChild {
  const pipes = descriptors.makeHelperPipes(plan);

  // The helper's own descriptors take numbers that the program does not have.
  const { here } = ends;
  const moves = here === undefined ? ends.moves : [...ends.moves, here];
  const taken = new Set(moves.map(({ to }) => to));
  const planAt = lowestUnused(taken);
  const reportAt = lowestUnused(taken);
  const handshakeAt = { ready: lowestUnused(taken), go: lowestUnused(taken) };

  const placed = plan.steps.findIndex(({ step }) => step === 'close_range') + 1;
  const { argv } = plan;
  const second = operationsOf(plan, plan.steps.slice(placed), placed, {
    moves: [],
    here,
    parent: process.pid,
    report: reportAt,
    handshake: handshakeAt,
  });
  const operations = [...closedByProgram(here, placed - 1), ...second.operations];
  const planFd = descriptors.makeMemoryFile(plan, encode({ file: executedFile(plan), argv, ...second, operations }), [
    ...pipes.kept,
    ...pipes.handedOver,
  ]);

  const first = operationsOf(plan, plan.steps.slice(0, placed), 0, {
    parent: process.pid,
    here,
    terminal: ends.controlling,
    moves: [
      ...moves,
      { from: planFd, to: planAt },
      ...helperMoves(pipes, { report: reportAt, handshake: handshakeAt }),
    ],
  });
  const encodedPlan = encode({
    file: helper,
    argv: ['vircommand-helper', String(planAt), String(reportAt)],
    envp: [],
    operations: [...first.operations, { code: 'execve', step: LANE_STEP }],
  });
  return {
    encodedPlan,
    size: encodedPlan.length,
    file: helper,
    report: pipes.report,
    handshake: pipes.handshake,
    hook: undefined,
    ours: pipes.kept,
    theirs: [planFd, ...pipes.handedOver],
  };
}
