// A thread that launches. What it does stands in its workerData: see stress.js.
import { parentPort, workerData } from 'node:worker_threads';
import { Command } from 'vircommand';

const ways = {
  async launch() {
    const outputs = await Promise.all(
      Array.from({ length: workerData.times }, (_, index) => {
        const command = new Command('echo', String(index)).outputBuffer();
        return (index % 3 === 0 ? command.clearCaps() : command).run();
      }),
    );
    return { right: outputs.filter(({ stdout }, index) => stdout === `${index}\n`).length };
  },

  async keep() {
    const children = await Promise.all([
      new Command('sleep', '600').runAsync(),
      new Command('sleep', '600').clearCaps().runAsync(),
      new Command('cat').inputPipe().outputPipe().errorPipe().runAsync(),
      new Command('sh', '-c', 'while :; do echo x; done').outputBuffer().outputLimit(1000, 'truncate').runAsync(),
    ]);
    return { pids: children.map(({ pid }) => pid) };
  },

  async exit() {
    void new Command('sleep', '600').runAsync();
    void new Command('true').run();
    await new Command('true').run();
    process.exit(7);
  },

  async endless() {
    const forever = async (make) => {
      for (;;) await make().run();
    };
    for (let count = 0; count < 4; count += 1) {
      void forever(() => new Command('head', '-c', '200000', '/dev/zero').outputBuffer());
      void forever(() => new Command('cat').clearCaps().inputBuffer('x'.repeat(100_000)).outputBuffer());
    }
    return {};
  },
};

parentPort.postMessage(await ways[workerData.way]());
