// Disk images and volumes: qemu-img with its progress, lvs with an exit code that is no failure, findmnt with JSON.
import { Command } from 'vircommand';

export async function createImage(path: string, size: string): Promise<void> {
  await new Command('qemu-img', 'create', '-q', '-f', 'qcow2', path, size).envPassCommon().run();
}

/** The size that an image has for its guest, in bytes. */
export async function virtualSize(path: string): Promise<number> {
  const { stdout } = await new Command('qemu-img', 'info', '--output', 'json', path).envPassCommon().outputBuffer().run();
  return (JSON.parse(stdout) as { 'virtual-size': number })['virtual-size'];
}

/** Converts an image, and tells how many percent are done. An abort leaves no half of one: remove the target then. */
export async function convertImage(from: string, to: string, onProgress: (percent: number) => void, signal?: AbortSignal): Promise<void> {
  const command = new Command('qemu-img', 'convert', '-p', '-O', 'qcow2', from, to).envPassCommon().abortSignal(signal);
  await using child = await command.outputPipe().errorBuffer().runAsync();
  // qemu-img writes one line over the other: "    (42.10/100%)\r".
  let text = '';
  for await (const piece of child.stdout) {
    const lines = (text + String(piece)).split('\r');
    text = lines.pop() ?? '';
    for (const line of lines) onProgress(Number(/\((\d+\.\d+)\/100%\)/.exec(line)?.[1] ?? 0));
  }
  await child.wait();
}

/** The logical volumes of a group, none where there is no such group: lvs exits with 5 then. */
export async function volumes(group: string): Promise<string[]> {
  const lvs = new Command('lvs', '--noheadings', '--options', 'lv_name', group).envPassCommon().check([0, 5]);
  const { exitCode, stdout } = await lvs.outputBuffer().run();
  return exitCode === 5 ? [] : stdout.split('\n').flatMap((line) => line.trim() || []);
}

/** What is mounted at a path. */
export async function mountAt(path: string): Promise<{ source: string; fstype: string } | undefined> {
  const findmnt = new Command('findmnt', '--json', '--output', 'SOURCE,FSTYPE', '--mountpoint', path).envPassCommon().check([0, 1]);
  const { exitCode, stdout } = await findmnt.outputBuffer().run();
  return exitCode === 1 ? undefined : (JSON.parse(stdout) as { filesystems: { source: string; fstype: string }[] }).filesystems[0];
}
