// Descriptors by number: the program gets those that are named here, at the numbers named here.
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'vircommand';

const directory = mkdtempSync(join(tmpdir(), 'descriptors-'));
const log = join(directory, 'command.log');
const config = join(directory, 'config');
writeFileSync(config, 'color = blue\n');

function state(fd: number): string {
  try {
    fstatSync(fd);
    return 'open';
  } catch {
    return 'closed';
  }
}

try {
  const logFd = openSync(log, 'a');
  const configFd = openSync(config, 'r');
  // The log becomes 9 in the program. The config keeps its number, and is closed here when the program has it.
  await new Command('sh', '-c', 'cat "$1" >&9', 'sh', `/dev/fd/${configFd}`).passFd(logFd, { as: 9 }).transferFd(configFd).run();
  const here = `Here, the log is still ${state(logFd)}, and the config is ${state(configFd)}.`;
  console.log(`The program wrote to its descriptor 9, our ${logFd}: ${readFileSync(log, 'utf8').trim()}\n${here}`);
  closeSync(logFd);

  // Two descriptors that change places: no assignment destroys the other.
  const [first, second] = [openSync(config, 'r'), openSync('/etc/hostname', 'r')];
  const swap = new Command('cat', `/dev/fd/${first}`).passFd(first, { as: second }).passFd(second, { as: first });
  const { stdout } = await swap.outputBuffer().run();
  console.log(`Descriptor ${first} is the config here, and in the program the host's name: ${stdout.trim()}`);
  for (const fd of [first, second]) closeSync(fd);
} finally {
  rmSync(directory, { recursive: true });
}
