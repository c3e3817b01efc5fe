/** How many entries are kept. A process that launches for ever must not remember for ever. */
const MOST_REMEMBERED = 1000;

/** A map that forgets its oldest entry where it would grow beyond a thousand. An entry that is set again is the youngest. */
export class BoundedMap<K, V> extends Map<K, V> {
  override set(key: K, value: V): this {
    this.delete(key);
    super.set(key, value);
    const [oldest] = this.keys();
    if (this.size > MOST_REMEMBERED && oldest !== undefined) this.delete(oldest);
    return this;
  }
}
