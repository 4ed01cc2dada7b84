/**
 * Notices that what was sent into a network is lost there.
 *
 * TCP's keep-alive probes tell of a peer that is gone only while nothing of ours is on its way. A statement that was
 * sent into a dead network is sent again and again instead: on Linux for a quarter of an hour (tcp_retries2), while
 * other systems give up within seconds. The option that would set this right, TCP_USER_TIMEOUT, cannot be reached from
 * Node, but the kernel's table of sockets (proc_pid_net(5), tcp) says how often it has tried in vain.
 */

import { readFile } from 'node:fs/promises'
import { isIPv6, type Socket } from 'node:net'

/** With as many looks as below: given up after 30 to 40 seconds, as the keep-alive probes do. */
const PERIOD_MILLIS = 10_000
const LOOKS = 3
/** The first retransmissions come within a second, on every bad line. */
const MANY_RETRANSMISSIONS = 2
/** `timer_active`: the retransmission timer. A peer that takes nothing more for now (4) is alive. */
const RETRANSMITTING = '01'

/** How the kernel gets on with what was given to it; undefined where it does not say. */
export type Sending = 'done' | 'under way' | 'in vain'

export interface AcknowledgementOptions {
  readonly periodMillis?: number
  /** Default: the kernel's table. */
  readonly look?: (socket: Socket) => Promise<Sending | undefined>
}

/**
 * Destroys the socket with ETIMEDOUT once what was sent has been retransmitted in vain for about half a minute and
 * nothing has been heard meanwhile. Costs one look at two numbers in ten seconds; the table is read only while the peer
 * is silent and something may be on its way.
 */
export function guardAcknowledgement(socket: Socket, options: AcknowledgementOptions = {}): void {
  const { periodMillis = PERIOD_MILLIS, look = lookUp } = options
  if (process.platform !== 'linux' && options.look === undefined) return
  let heard = -1
  let acknowledged = -1
  let inVain = 0
  const check = async (): Promise<void> => {
    const { bytesRead, bytesWritten } = socket
    if (bytesRead !== heard) {
      heard = bytesRead
      inVain = 0
      return
    }
    if (bytesWritten === acknowledged) return
    const sending = await look(socket)
    if (sending === 'done') acknowledged = bytesWritten
    inVain = sending === 'in vain' && socket.bytesRead === heard ? inVain + 1 : 0
    if (inVain >= LOOKS) socket.destroy(lost(socket))
  }
  const timer = setInterval(() => void check(), periodMillis).unref()
  socket.once('close', () => clearInterval(timer))
}

function lost({ remoteAddress, remotePort }: Socket): Error {
  const message = `write ETIMEDOUT: ${remoteAddress}:${remotePort} acknowledges nothing any more`
  return Object.assign(new Error(message), { code: 'ETIMEDOUT', syscall: 'write' })
}

async function lookUp(socket: Socket): Promise<Sending | undefined> {
  const { localAddress, localPort, remoteAddress, remotePort } = socket
  if (localAddress === undefined || remoteAddress === undefined) return undefined
  try {
    const table = await readFile(isIPv6(localAddress) ? '/proc/self/net/tcp6' : '/proc/self/net/tcp', 'latin1')
    return sendingOf(table, [localAddress, localPort ?? 0], [remoteAddress, remotePort ?? 0])
  } catch {
    // A sandbox without /proc: TCP's own limit holds, as it did before.
    return undefined
  }
}

type Place = readonly [address: string, port: number]

/** What the kernel's table says of the socket between two places; undefined when it does not list it. */
export function sendingOf(table: string, local: Place, remote: Place): Sending | undefined {
  // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt ...
  const begin = table.indexOf(` ${placeInTable(local)} ${placeInTable(remote)} `)
  if (begin < 0) return undefined
  const [, , , queues = '', timer = '', retransmissions = '0'] = table
    .slice(begin, begin + 200)
    .trim()
    .split(/\s+/)
  if (Number.parseInt(queues, 16) === 0) return 'done'
  const tried = Number.parseInt(retransmissions, 16)
  return timer.startsWith(`${RETRANSMITTING}:`) && tried >= MANY_RETRANSMISSIONS ? 'in vain' : 'under way'
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
