import { describe } from 'vitest';
import { argumentContract } from './arguments.js';
import { asyncContract } from './async.js';
import { blockingContract } from './blocking.js';
import { daemonContract } from './daemon.js';
import { daemonsMetContract } from './daemons-met.js';
import { descriptorContract } from './descriptors.js';
import { engines, type EngineUnderTest } from './engine.js';
import { environmentContract } from './environment.js';
import { eventContract } from './events.js';
import { execAnswerContract } from './exec-answers.js';
import { execSentenceContract } from './exec-sentences.js';
import { failedStartContract } from './failed-starts.js';
import { groupContract } from './groups.js';
import { inputContract } from './input.js';
import { killerContract } from './killers.js';
import { leakContract } from './leaks.js';
import { outputContract } from './output.js';
import { outputLimitContract } from './output-limit.js';
import { pathSearchContract } from './path-search.js';
import { pathContract } from './paths.js';
import { pidFileContract } from './pidfile.js';
import { scarcityContract } from './scarcity.js';
import { settlingContract } from './settling.js';
import { stackContract } from './stacks.js';
import { statusContract } from './status.js';
import { stoppingContract } from './stopping.js';

/** What every engine promises, as tests that run real programs. An engine's own test file calls this, and adds what is special. */
export function engineContract(name: EngineUnderTest['name']): void {
  const engine = engines[name];
  describe(`the ${name} engine`, () => {
    statusContract(engine);
    argumentContract(engine);
    environmentContract(engine);
    pathSearchContract();
    pathContract(engine);
    failedStartContract();
    execAnswerContract(engine);
    execSentenceContract(engine);
    groupContract(engine);
    stackContract(engine);
    scarcityContract(engine);
    inputContract();
    outputContract();
    outputLimitContract();
    settlingContract();
    stoppingContract();
    killerContract();
    descriptorContract(engine);
    blockingContract();
    asyncContract();
    daemonContract();
    daemonsMetContract(engine);
    pidFileContract();
    eventContract(engine);
    leakContract();
  });
}
