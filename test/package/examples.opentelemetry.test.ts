import { afterEach, beforeEach, expect, test } from 'vitest';
import { Command, ExitError, LaunchError } from 'vircommand';
import { dryRun } from 'vircommand/testing';
import {
  type Attributes,
  type Span,
  type Tracer,
  watchCommands,
  withTraceParent,
} from '../../examples/watching/opentelemetry.js';
import { FOREVER, NOWHERE, rejection, sh } from '../helpers/tools.js';

// The attributes are those of OpenTelemetry's semantic conventions for programs that are called ("CLI client spans").

interface Told {
  readonly name: string;
  readonly kind: number;
  readonly startTime: number;
  readonly attributes: Attributes;
  status?: { code: number; message?: string };
  ended: number;
}

/** A tracer that keeps what it is told. */
class Keeper implements Tracer {
  readonly spans: Told[] = [];

  startSpan(name: string, options: { kind: number; startTime: number; attributes: Attributes }): Span {
    const told: Told = { name, ...options, attributes: { ...options.attributes }, ended: 0 };
    this.spans.push(told);
    return {
      setAttributes: (attributes) => Object.assign(told.attributes, attributes),
      setStatus: (status) => (told.status = status),
      end: () => (told.ended += 1),
      spanContext: () => ({ traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 }),
    };
  }
}

let tracer: Keeper;
let stop: () => void;
beforeEach(() => {
  tracer = new Keeper();
  stop = watchCommands(tracer);
});
afterEach(() => {
  stop();
});

test('a program has a span from the call to its end, with its name, its pid and its exit code', async () => {
  const before = Date.now();
  const { pid } = await new Command('/bin/sleep', '0.01').run();
  const [span] = tracer.spans;
  expect(tracer.spans).toEqual([
    {
      name: 'sleep',
      kind: 2,
      startTime: expect.any(Number) as number,
      attributes: { 'process.executable.name': 'sleep', 'process.pid': pid, 'process.exit.code': 0 },
      ended: 1,
    },
  ]);
  expect(span?.startTime).toBeGreaterThanOrEqual(before - 2);
});

test.each<[string, () => Command, string, number]>([
  ['an exit code', () => sh('exit 3'), '3', 3],
  ['a signal', () => sh('kill -SEGV $$'), 'SIGSEGV', 139],
  ['a timeout', () => new Command('sleep', FOREVER).timeout(10), 'timeout', 143],
])('%s is an error of that type', async (_, command, type, code) => {
  await rejection(ExitError, command().run());
  expect(tracer.spans).toMatchObject([
    { attributes: { 'error.type': type, 'process.exit.code': code }, status: { code: 2 }, ended: 1 },
  ]);
});

test('a launch that fails is a span with its step', async () => {
  await rejection(LaunchError, new Command(NOWHERE).run());
  await rejection(LaunchError, new Command('true').workingDirectory(NOWHERE).run());
  expect(tracer.spans.map(({ attributes, ended }) => [attributes['error.type'], ended])).toEqual([
    ['execve ENOENT', 1],
    ['chdir ENOENT', 1],
  ]);
  expect(tracer.spans[0]?.status?.message).toContain(`Cannot start \`${NOWHERE}\``);
});

test('a daemon has a span for its launch', async () => {
  using _dry = dryRun();
  await new Command('/usr/sbin/dnsmasq').daemonize().run();
  expect(tracer.spans).toMatchObject([{ name: 'dnsmasq', ended: 1 }]);
});

test('TRACEPARENT is handed to a program on request, with the variables that it has', async () => {
  const span = tracer.startSpan('x', { kind: 0, startTime: 0, attributes: {} });
  const print = sh('echo "$TRACEPARENT $HOME"').outputBuffer();
  expect((await withTraceParent(print, span).run()).stdout).toBe(
    `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ${process.env['HOME'] ?? ''}\n`,
  );
  expect((await withTraceParent(print.clone().env('HOME', '/x'), span).run()).stdout).toMatch(/-01 \/x\n$/);
  expect((await print.run()).stdout).toBe(`${process.env['TRACEPARENT'] ?? ''} ${process.env['HOME'] ?? ''}\n`);
});
