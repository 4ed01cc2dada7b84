/** Seeded damage to bytes: the same seed always has the same result. */

export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 to below 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from 0 to below `count`. */
  below(count: number): number {
    return Math.floor(this.next() * count)
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)]
    if (item === undefined) throw new Error('Nothing to pick from')
    return item
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)))
  }
}

/** Values at which lengths, counts and signs tend to fail. */
const EDGES = [
  0, 1, 3, 4, 5, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x10_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
]

/** The limit for repeated bytes, so that the damage itself takes little memory. */
const MOST_REPEATED = 100_000

const DEEDS: readonly ((bytes: Buffer, chance: Chance) => Buffer)[] = [
  (bytes) => bytes,
  (bytes, chance) => bytes.subarray(0, chance.below(bytes.length + 1)),
  (bytes, chance) => {
    const copy = Buffer.from(bytes)
    for (let count = 1 + chance.below(4); count > 0 && copy.length > 0; count--) {
      copy[chance.below(copy.length)] = chance.below(256)
    }
    return copy
  },
  (bytes, chance) => {
    const width = chance.pick([1, 2, 4] as const)
    if (bytes.length < width) return bytes
    const copy = Buffer.from(bytes)
    copy.writeUIntBE(chance.pick(EDGES) % 2 ** (8 * width), chance.below(copy.length - width + 1), width)
    return copy
  },
  (bytes, chance) => {
    const place = chance.below(bytes.length + 1)
    return Buffer.concat([bytes.subarray(0, place), chance.bytes(chance.below(40)), bytes.subarray(place)])
  },
  (bytes, chance) => {
    const from = chance.below(bytes.length + 1)
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(Math.min(bytes.length, from + 1 + chance.below(8)))])
  },
  (bytes, chance) => {
    const most = Math.min(300, Math.floor(MOST_REPEATED / (bytes.length + 1)))
    return Buffer.concat(Array<Buffer>(2 + chance.below(most + 1)).fill(bytes))
  },
  (_bytes, chance) => chance.bytes(chance.below(200)),
]

export function damaged(bytes: Buffer, chance: Chance): Buffer {
  let result = bytes
  for (let count = 1 + chance.below(2); count > 0; count--) result = chance.pick(DEEDS)(result, chance)
  return result
}

/** The parts in a random order, some left out, repeated or damaged. */
export function shuffled(parts: readonly Buffer[], chance: Chance): Buffer {
  const order = parts.flatMap((part) => (chance.below(12) === 0 ? [] : chance.below(12) === 0 ? [part, part] : [part]))
  if (chance.below(4) === 0 && order.length > 1) {
    const [one, other] = [chance.below(order.length), chance.below(order.length)]
    const held = order[one] ?? Buffer.alloc(0)
    order[one] = order[other] ?? Buffer.alloc(0)
    order[other] = held
  }
  const victim = chance.below(order.length + 1)
  return Buffer.concat(order.map((part, index) => (index === victim ? damaged(part, chance) : part)))
}
