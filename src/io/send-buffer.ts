import { Buffer } from 'node:buffer';
import { inspect } from 'node:util';

/** Why what was sent cannot be sent again. */
export const WAS_SENT =
  'an earlier run has sent it, and wiped it from memory; make a command with a new one for each run';

/** Bytes for a descriptor of a program, which nobody shall see but that program. They are in memory until they have been sent, and no longer. */
export class SendBuffer {
  #bytes: Buffer | undefined;

  /** Takes a copy, which is this object's own: not of the memory that small buffers share. */
  constructor(data: string | Uint8Array) {
    const size = typeof data === 'string' ? Buffer.byteLength(data) : data.byteLength;
    const bytes = Buffer.allocUnsafeSlow(size);
    if (typeof data === 'string') bytes.write(data);
    else bytes.set(data);
    this.#bytes = bytes;
  }

  /** The bytes; `undefined` once they have been sent. */
  get bytes(): Buffer | undefined {
    return this.#bytes;
  }

  /** Another one with the same bytes, which is sent for itself. */
  copy(): SendBuffer {
    const copy = new SendBuffer(this.#bytes ?? '');
    if (this.#bytes === undefined) copy.wipe();
    return copy;
  }

  /** They have been sent: overwrites them, and lets them go. */
  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  /** A line that does not show them. */
  [inspect.custom](): string {
    return 'SendBuffer {}';
  }
}
