/**
 * A daemon that keeps ticket caches in memory, as SSSD's KCM does: Heimdal's IPC on a Unix socket, the part that MIT's
 * library uses. Principals and tickets are kept as the bytes that arrived. It is a separate process, because krb5
 * blocks the calling thread.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'

export interface Kcm extends AsyncDisposable {
  /** For `kcm_socket` in krb5.conf. */
  readonly socket: string
  /** It accepts connections and never answers. */
  freeze(): void
  thaw(): void
}

export async function startKcm(socket: string): Promise<Kcm> {
  const child: ChildProcess = spawn(process.execPath, [import.meta.filename, socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const atExit = (): unknown => child.kill('SIGKILL')
  process.once('exit', atExit)
  const ended = once(child, 'close')
  if (child.stdout === null) throw new Error('no output')
  await once(child.stdout, 'data')
  return {
    socket,
    freeze: () => child.kill('SIGSTOP'),
    thaw: () => child.kill('SIGCONT'),
    [Symbol.asyncDispose]: async () => {
      process.off('exit', atExit)
      child.kill('SIGKILL')
      await ended
    },
  }
}

const NO_SUCH_CACHE = -1765328189
const NO_MORE = -1765328242
const NOT_SUPPORTED = -1765328137

interface Cache {
  readonly name: Buffer
  readonly id: Buffer
  principal: Buffer | undefined
  tickets: Map<string, Buffer>
  offset: Buffer
}

const caches = new Map<string, Cache>()
let lastId = 0
let defaultName = Buffer.from('default')

function newId(): Buffer {
  const id = Buffer.alloc(16)
  id.writeUInt32BE(++lastId, 12)
  return id
}

function cacheOf(name: Buffer): Cache {
  const known = caches.get(name.toString('latin1'))
  if (known !== undefined) return known
  const made = { name, id: newId(), principal: undefined, tickets: new Map<string, Buffer>(), offset: Buffer.alloc(4) }
  caches.set(name.toString('latin1'), made)
  return made
}

const zeroEnded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.of(0)])
const idsOf = (ids: Iterable<string>): Buffer => Buffer.concat([...ids].map((id) => Buffer.from(id, 'hex')))

/** Operations by their numbers; each gets a cache's name and the rest, and returns bytes or an error number. */
const OPERATIONS: Readonly<Record<number, (name: Buffer, rest: Buffer, all: Buffer) => Buffer | number>> = {
  // GEN_NEW
  3: () => zeroEnded(Buffer.from(`unique${++lastId}`)),
  // INITIALIZE
  4: (name, principal) => {
    Object.assign(cacheOf(name), { principal, tickets: new Map(), offset: Buffer.alloc(4) })
    return Buffer.alloc(0)
  },
  // DESTROY
  5: (name) => (caches.delete(name.toString('latin1')) ? Buffer.alloc(0) : NO_SUCH_CACHE),
  // STORE
  6: (name, ticket) => {
    cacheOf(name).tickets.set(newId().toString('hex'), ticket)
    return Buffer.alloc(0)
  },
  // GET_PRINCIPAL
  8: (name) => caches.get(name.toString('latin1'))?.principal ?? NO_SUCH_CACHE,
  // GET_CRED_UUID_LIST
  9: (name) => idsOf(cacheOf(name).tickets.keys()),
  // GET_CRED_BY_UUID
  10: (name, id) => cacheOf(name).tickets.get(id.toString('hex')) ?? NO_MORE,
  // GET_CACHE_UUID_LIST
  18: () => Buffer.concat([...caches.values()].map(({ id }) => id)),
  // GET_CACHE_BY_UUID
  19: (_name, _rest, id) => {
    const cache = [...caches.values()].find((one) => one.id.equals(id))
    return cache === undefined ? NO_MORE : zeroEnded(cache.name)
  },
  // GET_DEFAULT_CACHE
  20: () => zeroEnded(defaultName),
  // SET_DEFAULT_CACHE
  21: (name) => {
    defaultName = Buffer.from(name)
    return Buffer.alloc(0)
  },
  // GET_KDC_OFFSET
  22: (name) => cacheOf(name).offset,
  // SET_KDC_OFFSET
  23: (name, offset) => {
    cacheOf(name).offset = offset
    return Buffer.alloc(0)
  },
}

/** Request: length, protocol, operation. Answer: length, 0, then the error's number and the bytes. */
function answerTo(request: Buffer): Buffer {
  const all = Buffer.from(request.subarray(8))
  const end = all.indexOf(0)
  const outcome = OPERATIONS[request.readUInt16BE(6)]?.(all.subarray(0, end), all.subarray(end + 1), all)
  const code = outcome === undefined ? NOT_SUPPORTED : typeof outcome === 'number' ? outcome : 0
  const bytes = Buffer.isBuffer(outcome) ? outcome : Buffer.alloc(0)
  const head = Buffer.alloc(12)
  head.writeUInt32BE(4 + bytes.length)
  head.writeInt32BE(code, 8)
  return Buffer.concat([head, bytes])
}

if (process.argv[1] === import.meta.filename) {
  const server = createServer((socket) => {
    let waiting = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      waiting = Buffer.concat([waiting, chunk])
      while (waiting.length >= 4 && waiting.length >= 4 + waiting.readUInt32BE()) {
        const size = 4 + waiting.readUInt32BE()
        socket.write(answerTo(waiting.subarray(0, size)))
        waiting = waiting.subarray(size)
      }
    })
  })
  server.listen(process.argv[2], () => process.stdout.write('ready\n'))
}
