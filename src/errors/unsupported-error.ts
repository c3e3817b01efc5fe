import { cannotStart, CommandError, type Subject } from './command-error.js';

/** A call that an engine cannot obey. */
export interface Refusal {
  /** The method that asked for it, without parentheses: `umask`. `launch` where the engine itself is missing. */
  readonly feature: string;
  /** The reason, as the end of a sentence that begins "because". */
  readonly why: string;
}

/** Nothing is refused: most plans. */
export const NO_REFUSALS: readonly Refusal[] = Object.freeze([]);

/** The refusals with one more, unless its method is among them. */
export const withRefusal = (refused: readonly Refusal[], more: Refusal | undefined): readonly Refusal[] =>
  more === undefined || refused.some(({ feature }) => feature === more.feature) ? refused : [...refused, more];

/** What was asked for and what the engine in use cannot do. Nothing was started. It lists every such call, not only the first. */
export class UnsupportedError extends CommandError {
  static override readonly name: string = 'UnsupportedError';
  /** Always `ERR_COMMAND_UNSUPPORTED`. */
  readonly code = 'ERR_COMMAND_UNSUPPORTED';
  /** The first method that asked for it, without parentheses: `umask`. `launch` where the engine itself is missing. */
  readonly feature: string;
  /** The engine that refused. */
  readonly engine: string;
  /** The reason, as the end of a sentence that begins "because". */
  readonly why: string;
  /** Every refused method, each with its reason, in the order of the plan's steps. */
  readonly refused: readonly Refusal[];

  constructor(
    subject: Subject,
    { feature, why, engine, others = [] }: Refusal & { readonly engine: string; readonly others?: readonly Refusal[] },
  ) {
    const refused = [{ feature, why }, ...others];
    super(
      others.length === 0 ? unsupportedSentence(subject, feature, engine, why) : listing(subject, engine, refused),
      subject,
    );
    this.feature = feature;
    this.engine = engine;
    this.why = why;
    this.refused = Object.freeze(refused);
  }
}

function listing(subject: Subject, engine: string, refused: readonly Refusal[]): string {
  return [
    `${cannotStart(subject)}: the ${engine} engine cannot do ${refused.length} of its calls:`,
    ...refused.map(({ feature, why }, index) => `  ${index + 1}. ${feature}(), because ${why}.`),
    'Leave them out, or use an engine that can: see docs/engines.md.',
  ].join('\n');
}

function unsupportedSentence(subject: Subject, feature: string, engine: string, why: string): string {
  if (feature === 'launch')
    return `${cannotStart(subject)}: ${why}. Unset VIRCOMMAND_ENGINE to have the best engine that works here.`;
  const start = subject.command === '' ? 'The' : `${cannotStart(subject)}: the`;
  return `${start} ${engine} engine cannot do ${feature}(), because ${why}. Leave the call out, or use an engine that can: see docs/engines.md.`;
}
