import { x } from 'tinyexec';

const options = { throwOnError: true, nodeOptions: { stdio: ['ignore', 'pipe', 'ignore'] } };
const { stdout } = await x('/bin/echo', ['hello'], options);
if (stdout !== 'hello\n') throw new Error(`it said ${stdout}`);
