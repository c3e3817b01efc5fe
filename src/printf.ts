import format from '@stdlib/string-format';

/** One conversion of a printf format: flags, width, precision, C's length modifier, and the letter. */
const CONVERSION = /%(?:%|(\d+\$)?([-+ 0#]*)(\*|\d+)?(?:\.(\*|\d+)?)?(hh|h|ll|l|j|z|t|L|q)?(.?))/gsu;
const LETTERS = 'diouxXeEfFgGcs';
const INTEGERS = 'diouxX';

/**
 * Formats as C's printf does, or says in words what is wrong with the format or its values.
 *
 * C's length modifiers (`%lu`, `%zd`) are read and mean nothing: a JavaScript number knows its size.
 */
export function printf(template: string, values: readonly unknown[]): { text: string } | { wrong: string } {
  let wanted = 0;
  for (const match of template.matchAll(CONVERSION)) {
    if (match[0] === '%%') continue;
    const [whole, position, , width, precision, , letter = ''] = match;
    if (position !== undefined) return { wrong: `'${whole}' names its value by position; write the values in the order of the format` };
    if (letter === '' || !LETTERS.includes(letter)) return { wrong: `'${whole}' is no conversion; there are %${Array.from(LETTERS).join(', %')} and %%` };
    const stars = [width, precision].filter((part) => part === '*').length;
    for (const star of values.slice(wanted, wanted + stars)) {
      if (!Number.isInteger(star)) return { wrong: `'${whole}' takes a width from its values, and that must be a whole number` };
    }
    wanted += stars;
    if (wanted < values.length) {
      const wrong = misfit(whole, letter, values[wanted]);
      if (wrong !== undefined) return { wrong };
    }
    wanted += 1;
  }
  if (wanted !== values.length) return { wrong: `the format takes ${wanted} value${wanted === 1 ? '' : 's'}, and ${values.length} came with it` };

  const plain = template.replaceAll(CONVERSION, (whole: string, ...parts: (string | undefined)[]) => {
    const length = parts[4];
    return length === undefined ? whole : `${whole.slice(0, -length.length - 1)}${whole.slice(-1)}`;
  });
  return { text: format(plain, ...values.map((value) => (typeof value === 'bigint' ? Number(value) : value))) };
}

function misfit(conversion: string, letter: string, value: unknown): string | undefined {
  if (letter === 's') return ['string', 'number', 'bigint'].includes(typeof value) ? undefined : `'${conversion}' takes a string or a number`;
  if (letter === 'c') return typeof value === 'number' || (typeof value === 'string' && value.length === 1) ? undefined : `'${conversion}' takes one character`;
  if (typeof value === 'bigint') {
    return BigInt.asIntN(54, value) === value ? undefined : `'${conversion}' is exact up to 2^53; write %s and String(value) for a larger one`;
  }
  if (typeof value !== 'number' || !Number.isFinite(value)) return `'${conversion}' takes a number`;
  if (INTEGERS.includes(letter) && !Number.isSafeInteger(value)) return `'${conversion}' takes a whole number`;
  return undefined;
}
