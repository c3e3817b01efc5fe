const command = new Deno.Command('/bin/echo', { args: ['hello'], stdin: 'null', stdout: 'piped', stderr: 'null' });
const stdout = new TextDecoder().decode((await command.output()).stdout);
if (stdout !== 'hello\n') throw new Error(`it said ${stdout}`);
