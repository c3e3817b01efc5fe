// Driver code without processes: commands are recorded and answered. No program needs to exist, and none is started.
import { Command } from 'vircommand';
import { dryRun } from 'vircommand/testing';

/** Driver code as it stands in a product. It does not know that it is being tested. */
async function makeBridge(name: string, address: string): Promise<string> {
  await new Command('/usr/sbin/ip').args('link', 'add', name, 'type', 'bridge').run();
  await new Command('/usr/sbin/ip').args('address', 'add', address, 'dev', name).run();
  const { stdout } = await new Command('/usr/sbin/ip').args('-brief', 'link', 'show', name).outputBuffer().run();
  return stdout.split(/\s+/)[1] ?? 'UNKNOWN';
}

{
  using dry = dryRun({ respond: ({ argv }) => ({ stdout: argv.includes('show') ? 'virbr7 DOWN 52:54:00:00:00:07\n' : '' }) });
  const state = await makeBridge('virbr7', '192.0.2.1/24');
  console.log(`The driver believes that its bridge is ${state}. It would have run:`);
  for (const command of dry.commands) console.log(`  ${command}`);
}

{
  // What a program answers can be an error as well.
  using dry = dryRun({ respond: () => ({ exitCode: 2, stderr: 'RTNETLINK answers: File exists\n' }) });
  await makeBridge('virbr7', '192.0.2.1/24').catch((error: unknown) => console.log(`\nA bridge that exists already:\n${String(error)}`));
  console.log(`The driver gave up after ${dry.commands.length} command.`);
}
