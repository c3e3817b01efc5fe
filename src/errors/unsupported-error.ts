import { cannotStart, CommandError, type Subject } from './command-error.js';

/** Something that was asked for and that the engine in use cannot do. Nothing was started. */
export class UnsupportedError extends CommandError {
  static override readonly name: string = 'UnsupportedError';
  /** Always `ERR_COMMAND_UNSUPPORTED`. */
  readonly code = 'ERR_COMMAND_UNSUPPORTED';
  /** The method that asked for it, without parentheses: `umask`. `launch` where the engine itself is missing. */
  readonly feature: string;
  /** The engine that refused. */
  readonly engine: string;
  /** The reason, as the end of a sentence that begins "because". */
  readonly why: string;

  constructor(subject: Subject, { feature, engine, why }: { feature: string; engine: string; why: string }) {
    super(unsupportedSentence(subject, feature, engine, why), subject);
    this.feature = feature;
    this.engine = engine;
    this.why = why;
  }
}

function unsupportedSentence(subject: Subject, feature: string, engine: string, why: string): string {
  if (feature === 'launch')
    return `${cannotStart(subject)}: ${why}. Unset VIRCOMMAND_ENGINE to have the best engine that works here.`;
  const start = subject.command === '' ? 'The' : `${cannotStart(subject)}: the`;
  return `${start} ${engine} engine cannot do ${feature}(), because ${why}. Leave the call out, or use an engine that can: see docs/engines.md.`;
}
