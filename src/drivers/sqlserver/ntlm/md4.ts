/** MD4 (RFC 1320), which NTLM derives its key from and which OpenSSL 3 no longer computes. For nothing else. */

const SHIFTS = [
  [3, 7, 11, 19],
  [3, 5, 9, 13],
  [3, 9, 11, 15],
] as const
const CONSTANTS = [0, 0x5a82_7999, 0x6ed9_eba1] as const
/** The order in which each round takes the sixteen words of a block. */
const ORDERS = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15],
  [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15],
] as const
const MIXES = [
  (x: number, y: number, z: number) => (x & y) | (~x & z),
  (x: number, y: number, z: number) => (x & y) | (x & z) | (y & z),
  (x: number, y: number, z: number) => x ^ y ^ z,
] as const
const BLOCK = 64

export function md4(message: Buffer): Buffer {
  const padded = Buffer.alloc(Math.ceil((message.length + 9) / BLOCK) * BLOCK)
  message.copy(padded)
  padded[message.length] = 0x80
  padded.writeBigUInt64LE(BigInt(message.length) * 8n, padded.length - 8)
  const state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]
  for (let at = 0; at < padded.length; at += BLOCK) addBlock(state, padded, at)
  const digest = Buffer.alloc(16)
  for (const [index, word] of state.entries()) digest.writeInt32LE(word | 0, index * 4)
  return digest
}

function addBlock(state: number[], bytes: Buffer, at: number): void {
  let [a = 0, b = 0, c = 0, d = 0] = state
  for (const [round, order] of ORDERS.entries()) {
    const mix = MIXES[round as 0 | 1 | 2]
    for (const [step, word] of order.entries()) {
      const sum = (a + mix(b, c, d) + bytes.readInt32LE(at + word * 4) + CONSTANTS[round as 0 | 1 | 2]) | 0
      const shift = SHIFTS[round as 0 | 1 | 2][(step % 4) as 0 | 1 | 2 | 3]
      const turned = (sum << shift) | (sum >>> (32 - shift))
      a = d
      d = c
      c = b
      b = turned
    }
  }
  state[0] = ((state[0] ?? 0) + a) | 0
  state[1] = ((state[1] ?? 0) + b) | 0
  state[2] = ((state[2] ?? 0) + c) | 0
  state[3] = ((state[3] ?? 0) + d) | 0
}
