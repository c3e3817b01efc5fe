// A network's dnsmasq, as libvirt's network driver has it: the configuration is a file; dnsmasq makes itself a daemon and writes
// its own pidfile; run() resolves when it has. SIGHUP reloads it, and a restart ends it, but never by force.
import { Resolver } from 'node:dns/promises';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Command, killPainfully, PidFile } from 'vircommand';
import { findDnsmasq, freePort, name, quietOn } from './dnsmasq-parts.js';

const program = findDnsmasq();
const directory = await mkdtemp(join(tmpdir(), 'network-'));
const [configFile, hostsFile, pidFile] = [join(directory, 'default.conf'), join(directory, 'hosts'), PidFile.path(directory, 'default')];

async function start(file: string): Promise<number> {
  await new Command(file).argPair('--conf-file', configFile).argPair('--pid-file', pidFile).env('VIR_BRIDGE_NAME', 'virbr0').run();
  return PidFile.read(pidFile);
}

if (program === undefined) console.log('dnsmasq is not installed.');
else {
  const port = await freePort();
  const resolver = new Resolver({ timeout: 500, tries: 4 });
  resolver.setServers([`127.0.0.1:${port}`]);
  await writeFile(configFile, [...quietOn(port), `addn-hosts=${hostsFile}`, ''].join('\n'));
  await writeFile(hostsFile, `192.0.2.7 ${name}\n`);
  let pid = await start(program);
  console.log(`dnsmasq runs as a daemon: ${name} is ${String(await resolver.resolve4(name))}`);
  await writeFile(hostsFile, `192.0.2.8 ${name}\n`);
  process.kill(pid, 'SIGHUP');
  while (String(await resolver.resolve4(name)) !== '192.0.2.8') await pause(20);
  console.log(`It was reloaded: ${name} is ${String(await resolver.resolve4(name))}`);
  await killPainfully(pid);
  pid = await start(program);
  console.log(`It was started anew: process ${(await PidFile.readIfAlive(pidFile, program)) === pid ? String(pid) : 'unknown'}`);
  await killPainfully(pid);
}
await rm(directory, { recursive: true });
