// Both output streams in one text, in the order in which the program wrote them: they share one descriptor.
import { Command, OutputBuffer } from 'vircommand';

const script = 'for i in 1 2 3; do echo "line $i on standard output"; echo "line $i on standard error" >&2; done';

const log = new OutputBuffer();
const command = new Command('sh', '-c', script).outputBuffer(log).errorBuffer(log);
await command.run();
console.log(`In one buffer, in order:\n${String(log)}`);

// A command can be run again. Its buffer is emptied first.
await command.run();
console.log(`After a second run the buffer holds ${log.bytes().length} bytes, not twice as many.`);

const { stdout, stderr } = await new Command('sh', '-c', script).outputBuffer().errorBuffer().run();
console.log(`In two buffers, ${stdout.length} and ${stderr.length} bytes, nothing says what came first.`);
