import { spawn } from 'node:child_process';

const stdout = await new Promise((resolve, reject) => {
  const chunks = [];
  const child = spawn('/bin/echo', ['hello'], { stdio: ['ignore', 'pipe', 'ignore'] });
  child.stdout.on('data', (chunk) => chunks.push(chunk));
  child.on('error', reject);
  child.on('close', () => resolve(Buffer.concat(chunks).toString()));
});
if (stdout !== 'hello\n') throw new Error(`it said ${stdout}`);
