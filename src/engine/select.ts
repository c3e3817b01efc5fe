import { type Refusal, UnsupportedError } from '../errors/unsupported-error.js';
import { realClock } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import { native as loaded } from '../native/load.js';
import { currentDryRun, currentRecording } from './dry-run.js';
import type { Engine } from './engine.js';
import { NativeEngine } from './native/engine.js';
import { portableEngine } from './portable/engine.js';
import { portableLimits, portableRefusals } from './portable/refusals.js';

/** Which engine launches commands here, and what to expect of it. */
export interface EngineInfo {
  readonly engine: Engine['name'];
  /** Why it is this one. */
  readonly why: string;
  /** The steps of a plan that it refuses, each with the reason. */
  readonly refuses: Readonly<Partial<Record<string, string>>>;
  /** What it promises less of than libvirt does. */
  readonly limits: readonly string[];
}

/** The variable that chooses an engine: `native` or `portable`. */
const ENGINE_VARIABLE = 'VIRCOMMAND_ENGINE';

const native = typeof loaded === 'string' ? loaded : new NativeEngine(loaded);

interface Choice {
  readonly engine: Engine;
  readonly why: string;
}

function choose(): Choice {
  const dryRun = currentDryRun();
  if (dryRun !== undefined) return { engine: dryRun, why: 'the caller stands in the scope of a dryRun()' };
  const wish = process.env[ENGINE_VARIABLE];
  switch (wish) {
    case undefined:
    case '':
      return typeof native === 'string'
        ? { engine: portableEngine, why: native }
        : { engine: native, why: 'the addon was loaded' };
    case 'portable':
      return { engine: portableEngine, why: `${ENGINE_VARIABLE} asks for it` };
    case 'native':
      return typeof native === 'string'
        ? absent('native', native)
        : { engine: native, why: `${ENGINE_VARIABLE} asks for it` };
    default:
      return absent('portable', `${ENGINE_VARIABLE} is '${wish}', and the engines are 'native' and 'portable'`);
  }
}

/** An engine that was asked for and is not there: it refuses everything, with the reason. */
function absent(name: Engine['name'], why: string): Choice {
  const refusal: Refusal = { feature: 'launch', why };
  const engine: Engine = {
    name,
    usesLanes: false,
    clock: realClock,
    environment: undefined,
    noteFailure: undefined,
    note: () => 'refused',
    refusals: () => [refusal],
    launch: ({ subject }) => Promise.reject(new UnsupportedError(subject, { ...refusal, engine: name })),
  };
  return { engine, why };
}

/** The engine for a launch that starts here and now. */
export function selectEngine(): Engine {
  const { engine } = choose();
  return currentRecording()?.over(engine) ?? engine;
}

/** The addon, for what is done to processes beside launching them; `undefined` where it does not load, or the portable engine was asked for. */
export function addonInUse(): Binding | undefined {
  return typeof loaded === 'string' || process.env[ENGINE_VARIABLE] === 'portable' ? undefined : loaded.binding;
}

/**
 * Tells which engine launches commands here, why, what it refuses and what it promises less of.
 *
 * The variable `VIRCOMMAND_ENGINE` chooses: `native` or `portable`. It is read at each launch.
 *
 * @example
 * const { engine, why } = engineInfo(); // 'portable', 'VIRCOMMAND_ENGINE asks for it'
 */
export function engineInfo(): EngineInfo {
  const { engine, why } = choose();
  if (engine === portableEngine) return { engine: engine.name, why, refuses: portableRefusals, limits: portableLimits };
  if (engine instanceof NativeEngine) return { engine: engine.name, why, refuses: engine.refuses(), limits: [] };
  return { engine: engine.name, why, refuses: engine.name === 'dry-run' ? {} : { launch: why }, limits: [] };
}
