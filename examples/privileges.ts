// A program that root starts with less: as nobody, with one capability, two limits and a umask. What it got is read from /proc.
import { readFileSync } from 'node:fs';
import { Command, UnsupportedError } from 'vircommand';

/** The lines of a file of /proc about the process that reads it. */
const lines = 'Name|Umask|Uid|Gid|Groups|CapPrm|CapBnd|CapAmb|NoNewPrivs|Max open files|Max core file size';
const look = new Command('grep', '-hE', `^(${lines})`, '/proc/self/status', '/proc/self/limits')
  .user('nobody')
  .allowCap('CAP_NET_BIND_SERVICE') // Ports below 1024, and nothing else that root may.
  .noNewPrivileges()
  .maxFiles(64)
  .maxCoreSize(0)
  .umask(0o027)
  .envClear()
  .outputBuffer();

async function report(): Promise<string> {
  if (process.geteuid?.() !== 0) return 'Only root can give privileges away: run this as root.\n';
  try {
    const { stdout } = await look.run();
    return `What the program says of itself:\n${stdout}`;
  } catch (error) {
    if (error instanceof UnsupportedError) return `${error.message}\n`;
    throw error;
  }
}

console.log(await report());
const here = /^Umask:.*$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[0];
console.log(`Of this process nothing has changed: ${here ?? ''}`);
