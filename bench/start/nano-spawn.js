import spawn from 'nano-spawn';

const { stdout } = await spawn('/bin/echo', ['hello'], { stdin: 'ignore', stderr: 'ignore' });
if (stdout !== 'hello') throw new Error(`it said ${stdout}`);
