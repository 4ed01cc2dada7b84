/** Mutations of a server's messages for fuzzing: tokens, lengths, packets and floods. */

import { packet } from './packets.ts'
import { envText } from './tokens.ts'

/** Random numbers that are the same for the same seed (mulberry32). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 to less than `below`. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)))
  }
}

/** The server's bytes at a stage, in place of its message. */
export interface Mutation {
  readonly name: string
  /** The bytes on the wire, in pieces; the stream may be endless. */
  readonly pieces: Iterable<Buffer>
  /** Whether the server hangs up afterwards, or stays silent. */
  readonly behind: 'close' | 'silence' | 'go-on'
}

/** Changes to the tokens of a message, then to the packets that carry them. */
export function mutate(tokens: readonly Buffer[], type: number, random: Random): Mutation {
  const name = random.pick(Object.keys(MUTATIONS) as (keyof typeof MUTATIONS)[])
  const behind = random.below(20) === 0 ? 'silence' : random.pick(['close', 'go-on', 'go-on'] as const)
  return { name, behind, pieces: (MUTATIONS[name] as Mutate)(tokens, type, random) }
}

type Mutate = (tokens: readonly Buffer[], type: number, random: Random) => Iterable<Buffer>

const whole = (type: number, body: Buffer): Buffer => packet(type, body.subarray(0, 65_000), true, 1)

function altered(bytes: Buffer, random: Random): Buffer {
  const copy = Buffer.from(bytes)
  if (copy.length === 0) return copy
  for (let times = 1 + random.below(4); times > 0; times--) {
    const at = random.below(copy.length)
    copy[at] = random.pick([0, 1, 0x7f, 0x80, 0xfe, 0xff, random.below(256), (copy[at] ?? 0) ^ (1 << random.below(8))])
  }
  return copy
}

/** The end of an endless answer, above the limit of a client. */
const FLOOD_BYTES = 2 << 20

export function* flood(piece: Buffer, bytes = FLOOD_BYTES): Generator<Buffer> {
  const many = Buffer.concat(Array.from({ length: Math.max(1, Math.floor(30_000 / piece.length)) }, () => piece))
  for (let sent = 0; sent < bytes; sent += many.length) yield many
}

const MUTATIONS = {
  'bytes of the tokens altered': (tokens, type, random) => [whole(type, altered(Buffer.concat(tokens), random))],
  'one token altered': (tokens, type, random) => {
    const which = random.below(tokens.length)
    return [
      whole(type, Buffer.concat(tokens.map((token, index) => (index === which ? altered(token, random) : token)))),
    ]
  },
  'a length of a token altered': (tokens, type, random) => {
    const copies = tokens.map((token) => Buffer.from(token))
    const token = random.pick(copies)
    if (token.length > 3) token.writeUInt16LE(random.pick([0, 1, 7, 255, 256, 0x7fff, 0x8000, 0xfffe, 0xffff]), 1)
    return [whole(type, Buffer.concat(copies))]
  },
  'a number of four bytes made huge': (tokens, type, random) => {
    const body = Buffer.concat(tokens)
    if (body.length > 4)
      body.writeUInt32LE(random.pick([0x7fffffff, 0xffffffff, 0xfffffffe, 0x80000000]), random.below(body.length - 3))
    return [whole(type, body)]
  },
  'tokens repeated, left out or in another order': (tokens, type, random) => {
    const some = Array.from({ length: 1 + random.below(2 * tokens.length) }, () => random.pick(tokens))
    return [whole(type, Buffer.concat(some))]
  },
  'cut short': (tokens, type, random) => {
    const body = Buffer.concat(tokens)
    return [whole(type, body.subarray(0, random.below(body.length + 1)))]
  },
  'random tokens': (_tokens, type, random) => {
    const first = random.pick([
      0x81, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xd1, 0xd2, 0xd3, 0xe3, 0xe4, 0xed, 0xee, 0xfd, 0xfe, 0xff, 0x79,
    ])
    return [whole(type, Buffer.concat([Buffer.from([first]), random.bytes(random.below(200))]))]
  },
  'an environment change of any kind': (tokens, type, random) => {
    const value = random.pick([
      Buffer.from([random.below(30)]),
      random.bytes(1 + random.below(40)),
      envText(
        'packetSize',
        random.pick(['0', '8', '-1', '511', '1e9', '4096x', '', 'NaN', '32767', '512']),
        '4096',
      ).subarray(3),
    ])
    const change = Buffer.concat([Buffer.from([0xe3, value.length & 0xff, value.length >> 8]), value])
    return [whole(type, Buffer.concat([change, ...tokens]))]
  },
  'the packet header altered': (tokens, type, random) => {
    const bytes = whole(type, Buffer.concat(tokens))
    return [Buffer.concat([altered(bytes.subarray(0, 8), random), bytes.subarray(8)])]
  },
  'many small packets': function* (tokens, type) {
    const body = Buffer.concat(tokens)
    for (let at = 0; at < body.length; at++) yield packet(type, body.subarray(at, at + 1), at + 1 === body.length, at)
  },
  'random bytes': (_tokens, _type, random) => [random.bytes(1 + random.below(400))],
  'the message twice': (tokens, type) => [whole(type, Buffer.concat(tokens)), whole(type, Buffer.concat(tokens))],
  'a flood of one token': (tokens, type, random) => {
    const token = random.pick(tokens.filter(({ length }) => length > 0))
    const piece = packet(
      type,
      Buffer.concat(Array.from({ length: 1 + Math.floor(4000 / token.length) }, () => token)),
      false,
      1,
    )
    return flood(piece)
  },
  'a flood of empty packets': (_tokens, type) => flood(packet(type, Buffer.alloc(0), false, 1)),
  'a flood of packets with one byte': (tokens, type, random) =>
    flood(packet(type, Buffer.from([random.pick([0xae, 0xee, 0xed, tokens[0]?.[0] ?? 0])]), false, 1)),
  'a flood of environment changes that no one knows': (_tokens, type) =>
    flood(packet(type, Buffer.alloc(4000, Buffer.from([0xe3, 1, 0, 0x77])), false, 1)),
  'a flood of features': (_tokens, type) =>
    flood(packet(type, Buffer.alloc(4000, Buffer.from([0xae, 0, 0, 0, 0])), false, 1)),
  'a flood of complete messages': (tokens, type) => flood(whole(type, Buffer.concat(tokens))),
} satisfies Readonly<Record<string, Mutate>>
