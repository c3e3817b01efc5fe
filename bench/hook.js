// What a hook costs: a launch with one, beside a plain launch and the start of an empty Node program. One after the other, so
// that each has its share of what else the machine does; the best of all rounds, and the median.
import { spawnSync } from 'node:child_process';
import { Command } from 'vircommand';

const ROUNDS = 40;
const EMPTY = ['--input-type=module', '-e', ''];

const kinds = {
  'a plain launch': () => new Command('/bin/true').run(),
  'an empty Node program': () => spawnSync(process.execPath, EMPTY),
  'a launch with a hook': () => new Command('/bin/true').preExecHook(() => 0).run(),
};
const seen = new Map(Object.keys(kinds).map((kind) => [kind, []]));
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [kind, start] of Object.entries(kinds)) {
    const before = performance.now();
    await start();
    seen.get(kind).push(performance.now() - before);
  }
}
for (const [kind, times] of seen) {
  times.sort((a, b) => a - b);
  console.log(`${kind.padEnd(24)} ${times[0].toFixed(1)} ms at best, ${times[ROUNDS / 2].toFixed(1)} ms in the median`);
}
