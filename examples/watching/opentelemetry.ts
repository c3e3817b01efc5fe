// OpenTelemetry: a span for each program, from the call to its end, with the names of the semantic conventions for programs that are called.
// A tracer of @opentelemetry/api fits as it is; what is used of it is written down here, so that this example needs no package.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { basename } from 'node:path';
import { type Command, type CommandEvents, type CommandSpec, LaunchError, type RunResult } from 'vircommand';

export interface Tracer {
  startSpan(name: string, options: { kind: number; startTime: number; attributes: Attributes }): Span;
}

export interface Span {
  setAttributes(attributes: Attributes): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  end(): void;
  spanContext(): { traceId: string; spanId: string; traceFlags: number };
}

export type Attributes = Record<string, string | number>;

/** Of @opentelemetry/api: `SpanKind.CLIENT` and `SpanStatusCode.ERROR`. */
const CLIENT = 2;
const ERROR = 2;

/** From here on, every program of this thread has a span, under the one in which it was called. Gives the way to end that. */
export function watchCommands(tracer: Tracer): () => void {
  const spans = new Map<number, Span>();
  const begin = (spec: CommandSpec | undefined, sinceMs: number, attributes: Attributes): Span => {
    const name = executableOf(spec);
    const startTime = Date.now() - sinceMs;
    return tracer.startSpan(name, { kind: CLIENT, startTime, attributes: { 'process.executable.name': name, ...attributes } });
  };
  return listen({
    'vircommand:launch'({ spec, pid, mode, durationMs }) {
      const span = begin(spec, durationMs, { 'process.pid': pid });
      // The end of a daemon is told to nobody, and after exec() there is nobody to be told.
      if (mode === 'daemon' || mode === 'exec') span.end();
      else spans.set(pid, span);
    },
    'vircommand:exit'({ result }) {
      const span = spans.get(result.pid);
      spans.delete(result.pid);
      // A signal as a shell tells it: 128 and its number.
      span?.setAttributes({ 'process.exit.code': result.exitCode ?? 128 + (result.rawStatus & 0x7f) });
      const type = errorType(result);
      if (type !== undefined) span?.setAttributes({ 'error.type': type });
      if (type !== undefined) span?.setStatus({ code: ERROR, message: String(result) });
      span?.end();
    },
    'vircommand:error'({ error, spec }) {
      // A program that ran has its span already.
      if (!(error instanceof LaunchError)) return;
      const { step, errno, message } = error;
      const span = begin(spec, 0, { 'error.type': errno === undefined ? step : `${step} ${errno}` });
      span.setStatus({ code: ERROR, message: message.split('\n', 1)[0] ?? '' });
      span.end();
    },
  });
}

/** A copy of a command whose program finds the span that it belongs to in TRACEPARENT, as the W3C says it: for programs that trace themselves. */
export function withTraceParent<C extends Command>(command: C, span: Span): C {
  const { traceId, spanId, traceFlags } = span.spanContext();
  const copy = command.clone();
  // The first variable that is said would be all that the program gets.
  if (command.spec().env === undefined) copy.envInherit();
  copy.env('TRACEPARENT', `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`);
  return copy;
}

function executableOf(spec: CommandSpec | undefined): string {
  const [program = ''] = spec?.argv ?? [];
  return basename(typeof program === 'string' ? program : Buffer.from(program.base64, 'base64').toString());
}

/** What went wrong, in one word of a few; `undefined`: nothing. */
function errorType({ timedOut, signal, exitCode }: RunResult): string | undefined {
  if (timedOut) return 'timeout';
  return signal ?? (exitCode === 0 ? undefined : String(exitCode));
}

type Listeners = { readonly [Channel in keyof CommandEvents]?: (event: CommandEvents[Channel]) => void };

/** Listens to channels, each with the type of its events. */
function listen(listeners: Listeners): () => void {
  const entries = Object.entries(listeners) as [string, (event: unknown) => void][];
  for (const [channel, listener] of entries) subscribe(channel, listener);
  return () => {
    for (const [channel, listener] of entries) unsubscribe(channel, listener);
  };
}
