import type { CommandError } from '../../errors/command-error.js';
import { LaunchError } from '../../errors/launch-error.js';
import { now } from '../../host/time.js';
import type { Binding } from '../../native/binding.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import type { SignalName } from '../../text/signals.js';
import type { Foreground } from '../../terminal/foreground.js';
import type { LaunchResources, ProcessEnd, SyncProcess } from '../engine.js';
import { type Started, Watch } from './watch.js';

/** How long a turn may last while the program has the terminal: a signal that tells of its stop may come just before the turn. */
const LOOK_MS = 200;

/** A child that is waited for turn by turn. */
export class NativeSyncProcess implements SyncProcess {
  readonly pid: number;
  readonly #binding: Binding;
  readonly #watch: Watch;
  readonly #foreground: Foreground | undefined;
  #end: ProcessEnd | undefined;

  constructor(binding: Binding, started: Started, plan: LaunchPlan, resources: LaunchResources) {
    this.pid = started.pid;
    this.#binding = binding;
    this.#foreground = started.foreground;
    let report: { readonly failure: CommandError | undefined } | undefined =
      started.report < 0 ? { failure: undefined } : undefined;
    this.#watch = new Watch(binding, started, plan, resources, {
      waits: true,
      onReport: (error) => {
        report = { failure: error };
      },
      onEnd: (end) => {
        this.#end = end;
      },
    });
    const isSettled = (): boolean => report !== undefined && (report.failure === undefined || this.#end !== undefined);
    // Only a hook can take long.
    let deadline = plan.lane === 'hook-runner' ? resources.deadline : Infinity;
    let isLate = false;
    while (!isSettled()) {
      const restMs = deadline - now();
      binding.turn(restMs === Infinity ? -1 : Math.max(0, Math.ceil(restMs)));
      if (isSettled() || now() < deadline) continue;
      deadline = Infinity;
      try {
        isLate = this.#watch.signal('SIGKILL');
      } catch {
        // It has taken other ids, so the hook is done: the program runs, and is stopped as programs are.
      }
    }
    if (isLate)
      throw new LaunchError(plan.subject, {
        step: 'hook',
        hook: { what: 'timeout', limitMs: plan.spec.timeoutMs ?? 0 },
      });
    if (report?.failure !== undefined) throw report.failure;
  }

  signal(name: SignalName): boolean {
    return this.#watch.signal(name);
  }

  get isReaped(): boolean {
    return this.#watch.isReaped;
  }

  stopReading(): void {
    this.#watch.stopReading();
  }

  turn(timeoutMs: number): ProcessEnd | undefined {
    if (this.#end !== undefined) return this.#end;
    const isShort = timeoutMs >= 0 && timeoutMs < LOOK_MS;
    this.#binding.turn(this.#foreground === undefined || isShort ? timeoutMs : LOOK_MS);
    this.#foreground?.look();
    return this.#end;
  }
}
