// A driver's hook script, after the complete example on libvirt's page about virCommand: four arguments, a small
// environment, text on standard input. A missing script and an exit code other than 0 both reject.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, ExitError } from 'vircommand';

const hookDirectory = await mkdtemp(join(tmpdir(), 'hooks-'));

async function runhook(drv: string, id: string, op: string, subop: string, extra: string, input: string): Promise<string> {
  const hook = new Command(join(hookDirectory, drv)).envPassCommon();
  hook.args(id, op, subop, extra).inputBuffer(input);
  const { stdout } = await hook.outputBuffer().run();
  return stdout;
}

const script = `#!/bin/sh
read first_line
echo "domain $1: $2 ($3, $4), and its description begins with $first_line"
[ "$2" != migrate ] || { echo 'no migration on Sundays' >&2; exit 3; }
`;

try {
  await writeFile(join(hookDirectory, 'qemu'), script, { mode: 0o755 });

  process.stdout.write(await runhook('qemu', 'web-1', 'start', 'begin', '-', '<domain>\n</domain>\n'));
  await runhook('qemu', 'web-1', 'migrate', 'begin', '-', '<domain>\n</domain>\n');
} catch (error) {
  if (!(error instanceof ExitError)) throw error;
  console.log(`The hook said no with code ${String(error.result.exitCode)}: ${error.message.split('\n').at(-1) ?? ''}`);
} finally {
  await rm(hookDirectory, { recursive: true });
}
