import type { DescriptorSource } from '../plan/descriptors.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { rowOf } from '../plan/step-table.js';
import { printable } from '../spec/spec.js';
import { readable } from '../text/bytes.js';
import { printCommand } from '../text/quote.js';
import { shownLines } from '../text/shown.js';
import type { Engine } from './engine.js';

const lanes = {
  'shared-memory': "shared memory: the child executes the steps in this process's memory, with its own stack",
  helper: 'helper: a small program with a memory of its own executes the steps, since some change privileges or wait',
  'hook-runner':
    'hook runner: a Node process runs the hook; then the helper executes the steps after it, in a memory of its own',
  'in-place': 'in place: this process performs the steps, after a child has rehearsed them, and becomes the program',
} as const;

/** Prints a plan for a person: the program, what it gets, and each step of the child, numbered. Values of variables are left out. */
export function explainPlan(plan: LaunchPlan, engine: Engine, why: string): string {
  const rows: [string, string[]][] = [
    [
      'program',
      [readable(plan.file), ...(plan.tried.length === 0 ? [] : [`found in PATH after ${plan.tried.join(', ')}`])],
    ],
    ['arguments', [String(plan.argv.length - 1)]],
    ['environment', [environmentLine(plan)]],
    ['directory', [plan.directory === undefined ? "this process's own" : readable(plan.directory)]],
    [
      'descriptors',
      [
        ...plan.descriptors.map(
          ({ childFd, source }) => `${childFd} ← ${sourceText(source, childFd)}${sizeText(source, plan)}`,
        ),
        'nothing else',
      ],
    ],
    ['engine', [`${engine.name}: ${why}`]],
    ...(engine.usesLanes ? [['lane', [lanes[plan.lane]]] as [string, string[]]] : []),
    [
      'steps',
      plan.steps.map(
        (step, index) =>
          `${`${index + 1}.`.padEnd(3)} ${step.step.padEnd(13)} ${rowOf(step).text(step)}${noted(engine.note(step))}`,
      ),
    ],
  ];
  const lines = rows.flatMap(([title, texts]) =>
    texts.map((text, index) => `  ${(index === 0 ? title : '').padEnd(12)} ${text}`),
  );
  return shownLines([printCommand(printable(plan.spec, { env: false })), ...lines].join('\n'));
}

const noted = (note: string | undefined): string => (note === undefined ? '' : ` [${note}]`);

function environmentLine({ spec, envp }: LaunchPlan): string {
  if (spec.env === undefined) return `inherited, ${envp.length} variables`;
  if (spec.envInherit === true)
    return `inherited, ${envp.length} variables; set here: ${spec.env.map(([name]) => name).join(', ')}`;
  if (envp.length === 0) return 'empty';
  return `exactly ${envp.map((entry) => Buffer.from(entry).toString().replace(/=.*/s, '')).join(', ')}`;
}

const sizeText = ({ kind }: DescriptorSource, { spec: { pipeSize } }: LaunchPlan): string =>
  kind === 'pipe' && pipeSize !== undefined ? `, of ${pipeSize} bytes or more` : '';

function sourceText(source: DescriptorSource, childFd: number): string {
  switch (source.kind) {
    case 'null':
      return '/dev/null';
    case 'fd':
      return source.fd === childFd
        ? `descriptor ${source.fd} of this process, same number`
        : `descriptor ${source.fd} of this process`;
    case 'file':
      return {
        read: `read '${readable(source.path)}'`,
        truncate: `write '${readable(source.path)}' anew`,
        append: `append to '${readable(source.path)}'`,
      }[source.open];
    case 'pipe':
      return {
        caller: 'a pipe for the caller',
        flow:
          childFd === 0
            ? 'a pipe; a stream of this process feeds it'
            : 'a pipe; what comes goes to a stream of this process, or to a file as well',
        buffer: 'a pipe for a buffer',
        log: 'a pipe; what comes is kept for the log',
        stage: childFd === 0 ? 'the pipe from the stage before' : 'the pipe to the next stage',
      }[source.for];
    case 'send':
      return 'a pipe with the bytes of sendBuffer()';
    case 'terminal':
      return {
        caller: 'a terminal of its own, for the caller',
        buffer: 'a terminal of its own, for a buffer',
        log: 'a terminal of its own; what comes is kept for the log',
      }[source.for];
    case 'stdout':
      return 'the same open file as 1';
  }
}
