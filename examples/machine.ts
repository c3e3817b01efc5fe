// A machine, as libvirt's QEMU driver starts it: its process stands before the program while the driver prepares what it needs,
// and is let go. Whatever throws in between, the program never runs. With --stand-in, or without QEMU, a shell plays QEMU.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { getPriority, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Command, type HookChild, killPainfully, PidFile, thisHost, UnsupportedError } from 'vircommand';

const directory = await mkdtemp(join(tmpdir(), 'machine-'));
const [log, pidFile, stateFile] = ['web-1.log', 'web-1.pid', 'web-1.json'].map((name) => join(directory, name)) as [string, string, string];
const qemu = '/usr/bin/qemu-system-x86_64';
const command =
  process.argv.includes('--stand-in') || thisHost.look(qemu) !== 'executable'
    ? new Command('sh', '-c', 'echo "$1 is up"; echo "$1: no KVM" >&2; exec sleep 60', 'sh', 'web-1')
    : new Command(qemu, '-name', 'web-1', '-machine', 'none', '-nodefaults', '-display', 'none', '-S');

/** Runs in the process itself, before it is the program. */
async function register({ name, stateFile: file }: { name: string; stateFile: string }, child: HookChild): Promise<void> {
  await process.getBuiltinModule('node:fs').promises.writeFile(file, JSON.stringify({ name, pid: child.pid }));
}

try {
  command.envPassCommon().outputFile(log, { append: true }).errorToOutput().umask(0o002).maxFiles(512).maxCoreSize(0).oomScoreAdjust(100);
  command.preExecHook(register, { name: 'web-1', stateFile });
  await using machine = await command.daemonize().pidFile(pidFile).requireHandshake().run();
  const pid = await PidFile.read(pidFile);
  console.log(`The hook wrote ${await readFile(stateFile, 'utf8')}.`);
  console.log(`Process ${pid} stands before its program: the log holds ${(await readFile(log)).length} bytes.`);
  setPriority(pid, 5); // The driver's part: processors, labels of images …
  await machine.handshakeNotify();
  console.log(`It runs, with the nice value ${getPriority(pid)}.`);
  while (command.argList[0] === '-c' && (await readFile(log, 'utf8')).split('\n').length < 3) await pause(10);
  console.log(`Its log:\n${await readFile(log, 'utf8')}`);
  await killPainfully(pid, { force: true });
} catch (error) {
  if (!(error instanceof UnsupportedError)) throw error;
  console.log(error.message);
}
await rm(directory, { recursive: true });
