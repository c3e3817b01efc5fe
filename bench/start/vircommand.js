import { Command } from 'vircommand';

const { stdout } = await new Command('/bin/echo', 'hello').outputBuffer().run();
if (stdout !== 'hello\n') throw new Error(`it said ${stdout}`);
