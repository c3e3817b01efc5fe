// The server of a virtual network: dnsmasq as a daemon, which a later process of the driver meets again by its pidfile.
import { Command, PidFile, type ProcessHandle } from 'vircommand';

export class Network {
  readonly #program: string;
  readonly #configFile: string;
  readonly #pidFile: string;

  constructor(name: string, { configFile, directory = '/run/network', program = '/usr/sbin/dnsmasq' }: NetworkOptions) {
    this.#program = program;
    this.#configFile = configFile;
    this.#pidFile = PidFile.path(directory, name);
  }

  /** Starts the server, and gives its pid. A configuration that dnsmasq refuses, and a second server, are errors. */
  async start(): Promise<number> {
    using server = await this.open();
    if (server !== undefined) throw new Error(`The network has a server already, process ${server.pid}.`);
    await this.#command('--test').run();
    const { pid } = await this.#command('--keep-in-foreground', '--pid-file=').daemonize().pidFile(this.#pidFile).run();
    return pid;
  }

  /** The server, if it runs. It is known by its program: dnsmasq closes what it inherits, and the lock of its pidfile with it. */
  open(): Promise<ProcessHandle | undefined> {
    return PidFile.open(this.#pidFile, { program: this.#program });
  }

  /** Has the server read its hosts anew. False: it does not run. */
  async reload(): Promise<boolean> {
    using server = await this.open();
    return server?.signal('SIGHUP') ?? false;
  }

  /** Ends the server, and removes its pidfile. It need not be running. */
  async stop(): Promise<void> {
    using server = await this.open();
    await server?.stop();
    await PidFile.remove(this.#pidFile);
  }

  #command(...options: string[]): Command {
    return new Command(this.#program, ...options).argPair('--conf-file', this.#configFile).envPassCommon();
  }
}

export interface NetworkOptions {
  readonly configFile: string;
  /** Where the pidfile stands. */
  readonly directory?: string;
  readonly program?: string;
}
