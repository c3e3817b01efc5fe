import { constants } from 'node:os';

const names = new Map<number, string>();
for (const [name, number] of Object.entries(constants.errno)) {
  // EWOULDBLOCK and EOPNOTSUPP are second names of numbers that stand earlier in the list.
  if (!names.has(number)) names.set(number, name);
}

/** The name of an errno, positive or negative: `ENOENT`. */
export function errnoName(errno: number): string {
  const number = Math.abs(errno);
  return names.get(number) ?? `errno ${number}`;
}
