import { execa } from 'execa';

const { stdout } = await execa('/bin/echo', ['hello'], { stdin: 'ignore', stderr: 'ignore' });
if (stdout !== 'hello') throw new Error(`it said ${stdout}`);
