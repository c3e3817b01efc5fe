import { Command, ExitError, OutputBuffer } from 'vircommand';

/** A rule: the program's part of it, and everything after the action. */
export interface Rule {
  readonly layer: 'ipv4' | 'ipv6';
  readonly table: 'filter' | 'nat' | 'mangle';
  readonly chain: string;
  /** What the rule matches and where it leads: `['--in-interface', 'virbr0', '--jump', 'ACCEPT']`. */
  readonly words: readonly string[];
}

const programs = { ipv4: '/usr/sbin/iptables', ipv6: '/usr/sbin/ip6tables' } as const;

/** A rule that the kernel did not take. The rules before it have been taken back. */
export class FirewallError extends Error {
  override readonly name = 'FirewallError';
}

/**
 * Inserts and removes firewall rules, all of a list or none.
 *
 * Two lists never mix: each begins when the one before it is through.
 */
export class Firewall {
  #last: Promise<unknown> = Promise.resolve();

  /** Inserts rules in their order. If one is refused, those before it are deleted again, the latest first. */
  apply(rules: readonly Rule[]): Promise<void> {
    return this.#next(async () => {
      const done: Command[] = [];
      for (const rule of rules) {
        const command = insertion(rule);
        try {
          await execute(command);
        } catch (error) {
          for (const earlier of done.reverse()) await undo(earlier);
          throw error;
        }
        done.push(command);
      }
    });
  }

  /** Deletes rules. One that is not there is as good as deleted. */
  remove(rules: readonly Rule[]): Promise<void> {
    return this.#next(async () => {
      for (const rule of rules) await undo(insertion(rule));
    });
  }

  #next(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

function insertion({ layer, table, chain, words }: Rule): Command {
  // -w waits for other programs that hold the kernel's lock on the tables.
  return new Command(programs[layer], '-w').args('--table', table, '--insert', chain, words);
}

/** Runs one command. iptables explains itself on either stream, so both go into the message, in their order. */
async function execute(command: Command): Promise<void> {
  const log = new OutputBuffer();
  try {
    await command.clone().outputBuffer(log).errorBuffer(log).run();
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    throw new FirewallError(`\`${command.toString({ stripPath: true })}\` was refused: ${String(log).trim()}`, { cause: error });
  }
}

/** Takes an insertion back. Its command is made from the words of the first, and may fail: what is gone is gone. */
async function undo(inserted: Command): Promise<void> {
  const words = inserted.argList.map((word) => (word === '--insert' ? '--delete' : word));
  await new Command(inserted.spec().argv[0] as string).args(words).run({ check: false });
}
