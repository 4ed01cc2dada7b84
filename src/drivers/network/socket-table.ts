/** The state of the bytes that sockets have sent, by the kernel's table of TCP sockets (proc_pid_net(5), tcp, tcp6). */

import { open } from 'node:fs/promises'
import { isIPv6, type Socket } from 'node:net'

/** The state of the bytes that were given to the kernel. */
export type Sending = 'done' | 'under way' | 'in vain'

/** The first retransmissions come within a second, on every bad line. */
const MANY_RETRANSMISSIONS = 2
/** `timer_active`: the retransmission timer. A peer that takes nothing more for now (4) is alive. */
const RETRANSMITTING = '01'

const CHUNK_BYTES = 64 * 1024
/** About 100,000 sockets. Sockets beyond that are not read: TCP's own limits hold for them. */
const TABLE_BYTES = 16 * 1024 * 1024

/**
 * Reads the table once for all of the sockets; those that it does not list are left out. On a system without the table,
 * or in a sandbox that hides it, that is all of them.
 */
export async function readSendings(sockets: readonly Socket[]): Promise<ReadonlyMap<Socket, Sending>> {
  const found = new Map<Socket, Sending>()
  if (process.platform !== 'linux') return found
  const families: Record<'tcp' | 'tcp6', Map<string, Socket>> = { tcp: new Map(), tcp6: new Map() }
  for (const socket of sockets) {
    const { localAddress, localPort, remoteAddress, remotePort } = socket
    if (localAddress === undefined || remoteAddress === undefined) continue
    const key = keyOf([localAddress, localPort ?? 0], [remoteAddress, remotePort ?? 0])
    families[isIPv6(localAddress) ? 'tcp6' : 'tcp'].set(key, socket)
  }
  for (const [family, wanted] of Object.entries(families)) {
    if (wanted.size === 0) continue
    try {
      for await (const line of linesOf(`/proc/self/net/${family}`)) {
        const key = keyIn(line)
        const socket = wanted.get(key)
        if (socket === undefined) continue
        found.set(socket, sendingIn(line))
        wanted.delete(key)
        if (wanted.size === 0) break
      }
    } catch {
      // The table is hidden here: TCP's own limit holds, as in any program.
    }
  }
  return found
}

async function* linesOf(path: string): AsyncGenerator<string> {
  const file = await open(path, 'r')
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    let rest = ''
    for (let bytes = 0; bytes < TABLE_BYTES; ) {
      const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, null)
      if (bytesRead === 0) return
      bytes += bytesRead
      const lines = (rest + chunk.toString('latin1', 0, bytesRead)).split('\n')
      rest = lines.pop() ?? ''
      yield* lines
    }
  } finally {
    await file.close()
  }
}

type Place = readonly [address: string, port: number]

/** Both ends of a line's socket. A line is `sl: local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt ...`. */
export function keyIn(line: string): string {
  const begin = line.indexOf(': ') + 2
  return line.slice(begin, line.indexOf(' ', line.indexOf(' ', begin) + 1))
}

export function sendingIn(line: string): Sending {
  const [, , , , queues = '', timer = '', retransmissions = '0'] = line.trim().split(/\s+/, 7)
  if (Number.parseInt(queues, 16) === 0) return 'done'
  const tried = Number.parseInt(retransmissions, 16)
  return timer.startsWith(`${RETRANSMITTING}:`) && tried >= MANY_RETRANSMISSIONS ? 'in vain' : 'under way'
}

export function keyOf(local: Place, remote: Place): string {
  return `${placeInTable(local)} ${placeInTable(remote)}`
}

/** Addresses stand there as 32-bit words, each with its bytes in the machine's order, which is little-endian but for s390x. */
function placeInTable([address, port]: Place): string {
  const bytes = isIPv6(address) ? ipv6Bytes(address) : Buffer.from(address.split('.').map(Number))
  return `${bytes.swap32().toString('hex')}:${port.toString(16).padStart(4, '0')}`.toUpperCase()
}

function ipv6Bytes(address: string): Buffer {
  const [head = '', tail] = address.replace(/%.*$/, '').split('::')
  const groups = (part: string | undefined): number[] =>
    part === undefined || part === ''
      ? []
      : part.split(':').flatMap((group) => {
          if (!group.includes('.')) return [Number.parseInt(group, 16)]
          const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
          return [a * 256 + b, c * 256 + d]
        })
  const [before, after] = [groups(head), groups(tail)]
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
  const bytes = Buffer.alloc(16)
  for (const [index, group] of all.entries()) bytes.writeUInt16BE(group, index * 2)
  return bytes
}
