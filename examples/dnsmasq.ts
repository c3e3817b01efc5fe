// The job that libvirt's network driver does: start a DNS server as a daemon, use it, and stop it by its pidfile.
//
//   npm run demo                    with dnsmasq, or with a small responder where dnsmasq is not installed
//   npm run demo -- --responder     with the responder in any case
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Resolver } from 'node:dns/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { engineInfo, killPainfully, PidFile } from 'vircommand';
import { address, dnsmasq, findDnsmasq, freePort, isRunning, linesOf, name, responder } from './dnsmasq-parts.js';

let directory: string | undefined;
let pid: number | undefined;
let steps = 0;
const step = (title: string) => console.log(`\n${(steps += 1)}. ${title}\n`);
const show = (text: string) => console.log(text.replaceAll(/^(?=.)/gm, '   '));

async function story(): Promise<void> {
  directory = await mkdtemp(join(tmpdir(), 'vircommand-demo-'));
  const log = join(directory, 'server.log');
  const pidFile = join(directory, 'server.pid');
  const port = await freePort();

  const wanted = !process.argv.includes('--responder');
  const installed = wanted ? findDnsmasq() : undefined;
  const { program, command } = installed === undefined ? responder(port) : await dnsmasq(installed, join(directory, 'dnsmasq.conf'), port);
  const daemon = command.envPassCommon().outputFile(log, { append: true }).errorToOutput().pidFile(pidFile).daemonize();

  if (installed !== undefined) step('dnsmasq is installed. This command starts it:');
  else step(`dnsmasq is ${wanted ? 'not installed' : 'left aside'}. A small responder plays its part; this command starts it:`);
  show(daemon.toString({ lineBreaks: true }));

  step('The plan, before anything is started:');
  show(daemon.explain());
  if (engineInfo().engine === 'portable')
    show('\nThe portable engine takes these steps as far as child_process can; docs/engines.md says what it leaves out.');

  step('Start it as a daemon.');
  ({ pid } = await daemon.run());
  show(`Process ${pid} is running, and ${pidFile} holds ${await PidFile.read(pidFile)}.`);

  step(`Ask it for ${name}, on port ${port} of 127.0.0.1, through node:dns.`);
  const answers = await ask(port, log, pid);
  if (answers.join() !== address) throw new Error(`The answer is ${answers.join(', ')}; it should be ${address}.`);
  show(`${name} is ${address}. The end of the daemon's log, which it writes by itself:`);
  show((await linesOf(log)).slice(-3).join('\n'));

  step('Stop it by its pidfile, as another process could that knows nothing else.');
  const found = await PidFile.readIfAlive(pidFile, program);
  if (found !== pid) throw new Error(`The pidfile leads to ${found ?? 'nobody'}, not to process ${pid}.`);
  await killPainfully(found, { force: true });
  await PidFile.remove(pidFile);
  show(`Process ${found} has ended, and its pidfile is removed.`);

  step('Look at what is left.');
  await rm(directory, { recursive: true });
  if (isRunning(found) || existsSync(directory)) throw new Error('The process still runs, or its directory is still there.');
  show(`No process ${found}. No directory ${directory}. Nothing else was made.`);
  pid = undefined;
}

/** The daemon runs before it listens, so the first questions may find nobody. */
async function ask(port: number, log: string, server: number): Promise<string[]> {
  const resolver = new Resolver({ timeout: 500, tries: 1 });
  resolver.setServers([`127.0.0.1:${port}`]);
  const deadline = Date.now() + 5000;
  for (;;) {
    try {
      return await resolver.resolve4(name);
    } catch (cause) {
      if (isRunning(server) && Date.now() < deadline) {
        await pause(50);
        continue;
      }
      const state = isRunning(server) ? 'does not answer' : 'has ended';
      throw new Error(`The server ${state}. Its log: ${(await linesOf(log)).slice(-5).join('\n') || 'empty'}`, { cause });
    }
  }
}

/** Ends and removes what is still there: after a failure, and after Ctrl-C, which a daemon does not hear. */
async function cleanUp(): Promise<void> {
  if (pid !== undefined) await killPainfully(pid, { force: true });
  if (directory !== undefined) await rm(directory, { recursive: true, force: true });
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => {
    console.log = console.error = () => undefined; // The story has no end to tell.
    void cleanUp().finally(() => process.exit(code));
  });
}

try {
  await story();
} catch (error) {
  process.exitCode = 1;
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
} finally {
  await cleanUp();
}
