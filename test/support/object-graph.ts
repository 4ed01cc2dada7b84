/** Searches for secrets in all objects that can be reached from one object. */

/** A text in the forms in which drivers carry it, as texts and as bytes. */
interface Needle {
  readonly texts: readonly string[]
  readonly bytes: readonly Buffer[]
}

/** As LOGIN7 hides a password (MS-TDS 2.2.6.4): nibbles of each byte swapped, then XOR 0xA5. */
function disguised(text: string): Buffer {
  return Buffer.from(Buffer.from(text, 'utf16le').map((byte) => (((byte << 4) | (byte >> 4)) ^ 0xa5) & 0xff))
}

function needle(secret: string | Buffer): Needle {
  const plain = [secret].flatMap((one) =>
    typeof one === 'string' ? [Buffer.from(one), Buffer.from(one, 'utf16le'), disguised(one)] : [one],
  )
  const texts = [
    ...(typeof secret === 'string' ? [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)] : []),
    ...plain.flatMap((bytes) => [
      ...[bytes, bytes.subarray(0, bytes.length - (bytes.length % 3))].map((part) => part.toString('base64')),
      bytes.toString('base64url'),
      bytes.toString('hex'),
    ]),
  ]
  return { texts, bytes: [...plain, ...texts.map((text) => Buffer.from(text))] }
}

const SKIPPED: ReadonlySet<unknown> = new Set([globalThis, process, Object.prototype, Function.prototype])

/**
 * The paths from `root` to each place that holds one of the secrets, in any form. Follows properties (enumerable or
 * not), symbols, accessors, prototypes, maps, sets, weak references and bytes; values in
 * closures and private fields are out of reach for other code too.
 */
export function findSecrets(root: unknown, secrets: readonly (string | Buffer)[]): string[] {
  const needles = secrets.map(needle)
  const found: string[] = []
  const seen = new Set<unknown>()
  const queue: (readonly [value: unknown, path: string])[] = [[root, '']]
  const look = (value: unknown, path: string): void => {
    if (typeof value === 'string') {
      if (needles.some(({ texts }) => texts.some((text) => value.includes(text)))) found.push(path)
    } else if ((typeof value === 'object' && value !== null) || typeof value === 'function') {
      if (!seen.has(value) && !SKIPPED.has(value)) queue.push([value, path])
      seen.add(value)
    }
  }
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const [value, path] = next as [object, string]
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
      const bytes =
        value instanceof ArrayBuffer
          ? Buffer.from(value)
          : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      if (needles.some((one) => one.bytes.some((wanted) => bytes.includes(wanted)))) found.push(path)
      continue
    }
    if (value instanceof Map) {
      for (const [key, item] of value) {
        look(key, `${path}.key`)
        look(item, `${path}.get(${String(key)})`)
      }
    }
    if (value instanceof Set) for (const item of value) look(item, `${path}.item`)
    if (value instanceof WeakRef) look(value.deref(), `${path}.deref()`)
    for (
      let holder: object | null = value;
      holder !== null && !SKIPPED.has(holder);
      holder = Object.getPrototypeOf(holder)
    ) {
      for (const key of Reflect.ownKeys(holder)) {
        const place = `${path}.${String(key)}`
        if (typeof key === 'string') look(key, `${place} (its name)`)
        const property = Reflect.getOwnPropertyDescriptor(holder, key)
        if (property === undefined) continue
        if (property.get === undefined) look(property.value, place)
        else look(read(property.get, value), place)
      }
    }
  }
  return found
}

function read(get: () => unknown, receiver: object): unknown {
  try {
    return get.call(receiver)
  } catch {
    // The accessor was written for another object.
    return undefined
  }
}
