/** The size of a terminal that nobody has said: that of the VT100. */
export const USUAL_SIZE = Object.freeze({ columns: 80, rows: 24 });

/** The highest number that the kernel keeps of a size. */
export const LARGEST_SIZE = 0xffff;

/** Whether a terminal can have so many columns, or rows. The kernel takes 0 for "nobody knows". */
export const isTerminalSize = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= LARGEST_SIZE;
