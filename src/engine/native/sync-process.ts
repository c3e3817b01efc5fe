import type { CommandError } from '../../errors/command-error.js';
import { LaunchError } from '../../errors/launch-error.js';
import { now } from '../../host/time.js';
import type { Binding } from '../../native/binding.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import type { SignalName } from '../../text/signals.js';
import type { LaunchResources, ProcessEnd, SyncProcess } from '../engine.js';
import { type Started, Watch } from './watch.js';

/** A child that is waited for turn by turn. */
export class NativeSyncProcess implements SyncProcess {
  readonly pid: number;
  readonly #binding: Binding;
  readonly #watch: Watch;
  #end: ProcessEnd | undefined;

  constructor(binding: Binding, started: Started, plan: LaunchPlan, resources: LaunchResources) {
    this.pid = started.pid;
    this.#binding = binding;
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
    const limitMs = plan.lane === 'hook-runner' ? plan.spec.timeoutMs : undefined;
    const deadline = limitMs === undefined ? Infinity : now() + limitMs;
    let isLate = false;
    while (!isSettled()) {
      const restMs = isLate ? Infinity : deadline - now();
      binding.turn(restMs === Infinity ? -1 : Math.max(0, Math.ceil(restMs)));
      if (isLate || isSettled() || now() < deadline) continue;
      isLate = this.#watch.signal('SIGKILL');
    }
    if (isLate) throw new LaunchError(plan.subject, { step: 'hook', hook: { what: 'timeout', limitMs: limitMs ?? 0 } });
    if (report?.failure !== undefined) throw report.failure;
  }

  signal(name: SignalName): boolean {
    return this.#watch.signal(name);
  }

  stopReading(): void {
    this.#watch.stopReading();
  }

  turn(timeoutMs: number): ProcessEnd | undefined {
    if (this.#end === undefined) this.#binding.turn(timeoutMs);
    return this.#end;
  }
}
