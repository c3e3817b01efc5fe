// Hook scripts: whoever administers the machine may say no. A script that takes too long ends with everything that it has started.
import { join } from 'node:path';
import { Command, thisHost } from 'vircommand';

/** Runs the hook of a driver, if there is one, and gives what it wrote: the XML that it wants changed. It rejects where the hook says no. */
export async function runHook(directory: string, driver: string, words: readonly string[], xml: string, ms = 30_000): Promise<string> {
  const script = join(directory, driver);
  if (thisHost.look(script) !== 'executable') return '';
  const hook = new Command(script, ...words).envPassCommon().inputBuffer(xml).newSession().timeout(ms, { tree: true });
  const { stdout } = await hook.outputBuffer().run();
  return stdout;
}
