// What the demo needs and what is no part of its story: a server, its configuration, a free port, and looking at processes.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command, LaunchError, thisHost } from 'vircommand';

/** A name that nobody on the internet answers for, and an address that is set aside for documentation. */
export const name = 'vircommand.test';
export const address = '192.0.2.7';

/** Where dnsmasq is, if it is installed. PATH of an ordinary user often lacks the directories of servers. */
export function findDnsmasq(): string | undefined {
  try {
    return new Command('dnsmasq').binaryPath();
  } catch (error) {
    if (!(error instanceof LaunchError)) throw error;
    return ['/usr/sbin/dnsmasq', '/usr/local/sbin/dnsmasq'].find((path) => thisHost.look(path) === 'executable');
  }
}

/** A server for the one name, as a command that stays in the foreground, and the file that it executes. */
export interface Server {
  readonly program: string;
  readonly command: Command;
}

/** Lines of a configuration for the port: dnsmasq reads no file of the system, asks no other server, and hands out no addresses. */
export function quietOn(port: number): string[] {
  return [
    `port=${port}`,
    'listen-address=127.0.0.1',
    'bind-interfaces',
    'no-resolv',
    'no-hosts',
    // Started as root, it would become another user. It stays who it is; an ordinary user has no choice anyway.
    ...userLine(),
  ];
}

/** dnsmasq in the foreground, after writing its configuration. */
export async function dnsmasq(program: string, configFile: string, port: number): Promise<Server> {
  // The pidfile is ours to write.
  const lines = [...quietOn(port), `address=/${name}/${address}`, 'log-queries', 'log-facility=-', 'pid-file='];
  await writeFile(configFile, `${lines.join('\n')}\n`);
  return { program, command: new Command(program).arg('--keep-in-foreground').argPair('--conf-file', configFile) };
}

function userLine(): string[] {
  try {
    return [`user=${userInfo().username}`];
  } catch {
    return []; // A uid without a name, as in some containers.
  }
}

/** The responder that is shipped with the examples: a Node program beside this file. */
export function responder(port: number): Server {
  const script = fileURLToPath(new URL('dns-responder.js', import.meta.url));
  return { program: process.execPath, command: new Command(process.execPath, script, port, name, address) };
}

/** A port of the loopback address that is free for TCP and for UDP. */
export async function freePort(): Promise<number> {
  for (;;) {
    const tcp = createServer().listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const { port } = tcp.address() as { port: number };
    const udp = createSocket('udp4');
    const free = await new Promise<boolean>((resolve) => {
      udp.once('error', () => resolve(false)).bind(port, '127.0.0.1', () => resolve(true));
    });
    udp.close();
    tcp.close();
    await once(tcp, 'close');
    if (free) return port;
  }
}

/** Whether a process runs. One that has ended may still have its number, until its parent asks how: a daemon's parent is init. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const stat = `/proc/${pid}/stat`;
    return !existsSync(stat) || !/\) [ZX] /.test(readFileSync(stat, 'latin1'));
  } catch (error) {
    // Between the two looks its parent may have asked.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** The lines of a file, or none if it is not there. */
export async function linesOf(file: string): Promise<string[]> {
  return existsSync(file) ? (await readFile(file, 'utf8')).trimEnd().split('\n') : [];
}
