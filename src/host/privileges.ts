import { readFileSync } from 'node:fs';
import { type CapabilityName, capabilityNames } from '../text/capabilities.js';
import { AS_UTF8 } from '../spec/bare.js';

/** What this process may do beyond what its ids allow. */
export interface Privileges {
  /** Its effective capabilities; `undefined` where there is no `/proc` to tell them. */
  readonly capabilities: ReadonlySet<CapabilityName> | undefined;
  /** Its supplementary groups. */
  readonly groups: readonly number[];
  /** It stands in a user namespace in which no groups may be changed. */
  readonly deniesGroups: boolean;
  /** It stands in a user namespace that does not have all users of the machine. */
  readonly isInNamespace: boolean;
}

/** Asks the kernel anew each time: all of it can change. */
export function privileges(): Privileges {
  const status = textOf('/proc/self/status');
  const bits = /^CapEff:\t([\da-f]+)$/m.exec(status ?? '')?.[1];
  const groups = /^Groups:\t(.*)$/m
    .exec(status ?? '')?.[1]
    ?.match(/\d+/g)
    ?.map(Number);
  return {
    capabilities:
      bits === undefined
        ? undefined
        : new Set(capabilityNames.filter((_name, number) => ((BigInt(`0x${bits}`) >> BigInt(number)) & 1n) === 1n)),
    // Node adds the group that every process has.
    groups: groups ?? process.getgroups?.().filter((group) => group !== process.getegid?.()) ?? [],
    deniesGroups: textOf('/proc/self/setgroups')?.startsWith('deny') === true,
    isInNamespace: !/^\s*0\s+0\s+4294967295\s*$/.test(textOf('/proc/self/uid_map') ?? '0 0 4294967295'),
  };
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, AS_UTF8);
  } catch {
    // There is no /proc, or the kernel is older than the file.
    return undefined;
  }
}
