const child = Bun.spawn(['/bin/echo', 'hello'], { stdin: 'ignore', stdout: 'pipe', stderr: 'ignore' });
const stdout = await child.stdout.text();
if ((await child.exited) !== 0 || stdout !== 'hello\n') throw new Error(`it said ${stdout}`);
