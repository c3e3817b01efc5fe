// A hook in JavaScript: it runs in the child, in the very process that becomes the program, and may say no.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, type HookChild, LaunchError, UnsupportedError } from 'vircommand';

const directory = await mkdtemp(join(tmpdir(), 'hook-'));

interface Request {
  readonly domain: string;
  readonly allowed: ReadonlySet<string>;
  readonly log: string;
}

/** Only the source of this function reaches the child. It sees nothing of this file but what it is given. */
async function prepare({ domain, allowed, log }: Request, child: HookChild): Promise<number> {
  if (!allowed.has(domain)) throw new Error(`the domain ${domain} has no license`);
  const { appendFile } = process.getBuiltinModule('node:fs').promises;
  await appendFile(log, `${domain} is prepared in process ${child.pid}, as user ${process.geteuid?.()}\n`);
  process.umask(0o027);
  return 0;
}

const start = (domain: string): Promise<{ stdout: string }> =>
  new Command('sh', '-c', 'echo "$0 runs in process $$, with the umask $(umask)"', domain)
    .preExecHook(prepare, { domain, allowed: new Set(['web-1']), log: join(directory, 'log') })
    .outputBuffer()
    .run();

try {
  process.stdout.write((await start('web-1')).stdout);
  process.stdout.write(await readFile(join(directory, 'log'), 'utf8'));
  await start('web-2');
} catch (error) {
  if (!(error instanceof LaunchError || error instanceof UnsupportedError)) throw error;
  console.log(error.message);
} finally {
  await rm(directory, { recursive: true });
}
