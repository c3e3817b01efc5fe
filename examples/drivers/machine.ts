// A virtual machine: QEMU as a daemon that outlives the driver, ready when its monitor answers, and ended with all that it has started.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Command, PidFile, type ProcessHandle } from 'vircommand';

export class Machine {
  readonly #name: string;
  readonly #directory: string;
  readonly #program: string;

  constructor(name: string, directory: string, program = '/usr/bin/qemu-system-x86_64') {
    this.#name = name;
    this.#directory = directory;
    this.#program = program;
  }

  /** Starts the machine and resolves when its monitor answers. If it never does, the machine is ended, and the error has the end of its log. */
  async start(options: readonly string[], adapt: (command: Command) => Command = (command) => command): Promise<number> {
    const command = new Command(this.#program, '-name', this.#name, '-qmp', `unix:${this.#file('qmp')},server=on,wait=off`, ...options);
    command.envPassCommon().umask(0o007).noNewPrivileges().maxCoreSize(0).outputFile(this.#file('log')).errorToOutput();
    // The driver's own: user(), cgroup(), limits, descriptors.
    const daemon = await adapt(command).daemonize().pidFile(this.#file('pid')).run();
    using qemu = daemon.process;
    try {
      await this.#greeting(qemu);
      return qemu.pid;
    } catch (cause) {
      await qemu.killTree();
      const log = await readFile(this.#file('log'), 'utf8').catch(() => '');
      throw new Error(`${this.#name} does not answer. Its log: ${log.trimEnd().split('\n').slice(-5).join('\n') || 'empty'}`, { cause });
    }
  }

  /** The machine, if it runs: also one that an earlier process of the driver has started. */
  open(): Promise<ProcessHandle | undefined> {
    return PidFile.open(this.#file('pid'), { program: this.#program });
  }

  /** Ends the machine and all that it has started. It need not be running. */
  async destroy(): Promise<void> {
    using qemu = await this.open();
    await qemu?.killTree();
    await PidFile.forceCleanup(this.#file('pid'));
  }

  /** Waits for the first line of the monitor, as long as QEMU lives, and for ten seconds at most. */
  async #greeting(qemu: ProcessHandle): Promise<void> {
    const over = new AbortController();
    void qemu.ended.then(() => {
      over.abort(new Error('QEMU has ended'));
    });
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(10_000)]);
    for (;;) {
      const monitor = connect(this.#file('qmp'));
      try {
        const [greeting] = (await once(monitor, 'data', { signal })) as [Buffer];
        if (greeting.includes('"QMP"')) return;
      } catch (error) {
        if (signal.aborted) throw error;
      } finally {
        monitor.destroy();
      }
      await pause(20);
    }
  }

  #file(ending: string): string {
    return join(this.#directory, `${this.#name}.${ending}`);
  }
}
