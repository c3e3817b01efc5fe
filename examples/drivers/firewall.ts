// A firewall: nftables takes a whole table in one transaction, from standard input; iptables tells by an exit code whether it has a rule.
import { Command } from 'vircommand';

/** Replaces a table by another, whole or not at all. What nft has to say of a mistake is in the error. */
export async function replaceTable(name: string, chains: string): Promise<void> {
  const rules = `table inet ${name}\ndelete table inet ${name}\ntable inet ${name} {\n${chains}\n}\n`;
  await new Command('nft', '--file', '-').envPassCommon().inputBuffer(rules).run();
}

/** Removes a table with all that is in it. */
export async function removeTable(name: string): Promise<void> {
  await new Command('nft', 'delete', 'table', 'inet', name).envPassCommon().run();
}

/** The names of the tables that there are. */
export async function tables(): Promise<string[]> {
  const { stdout } = await new Command('nft', '--json', 'list', 'tables').envPassCommon().outputBuffer().run();
  const { nftables } = JSON.parse(stdout) as { nftables: { table?: { name: string } }[] };
  return nftables.flatMap(({ table }) => table?.name ?? []);
}

/** Appends a rule unless it is there. Only exit code 1 means that it is not: a timeout, a signal and code 4 stay errors. */
export async function ensureRule(chain: string, ...words: string[]): Promise<void> {
  const iptables = (action: string) => new Command('iptables', '--wait', action, chain, ...words).envPassCommon().timeout(10_000);
  const { exitCode } = await iptables('--check').check([0, 1]).run();
  if (exitCode === 1) await iptables('--append').run();
}
