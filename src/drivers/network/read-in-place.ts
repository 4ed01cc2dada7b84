import { connect, type NetConnectOpts, type Socket } from 'node:net'

/** How many bytes the system reads at once: the same as in Node. */
const READ_BYTES = 65_536

/** @param isDrained the system has no more bytes for now, and room in which those that come can gather */
type Reader = (bytes: Buffer, isDrained?: boolean) => void

/** By the listeners to `data` that they stand for. */
const readers = new WeakMap<object, Reader>()

let shared: Buffer | undefined

/**
 * The memory that sockets read into: one piece for all of them, since a read and its callback are one step of the event
 * loop. On Windows a read may be under way in the system while another one's callback runs, so each socket has its own.
 */
function readRoom(): Buffer {
  // Cleared, so that no secret that lay in this memory before can be reached from a session.
  if (process.platform === 'win32') return Buffer.alloc(READ_BYTES)
  shared ??= Buffer.alloc(READ_BYTES)
  return shared
}

/**
 * A socket that always reads into the same memory: its listener to `data` gets a copy, which for the short answers of a
 * database is cheaper than memory for the longest one, and {@link inPlace} one gets the memory itself.
 */
export function connectReadingInPlace(options: NetConnectOpts): Socket {
  const room = readRoom()
  // TCP's memory grows with what is read at once; a Unix socket's does not. Elsewhere a timer may take 16 ms.
  const gathers = process.platform === 'linux' && !('path' in options)
  // Kept for the next read of the same size, since the answers of one statement often have one.
  let bytes = room
  const callback = (size: number): boolean => {
    if (bytes.length !== size) bytes = room.subarray(0, size)
    const reader = readerOf(socket)
    if (reader === undefined) return socket.push(Buffer.from(bytes))
    reader(bytes, gathers && size < READ_BYTES)
    return true
  }
  const socket: Socket = connect({ ...options, onread: { buffer: room, callback } })
  return socket
}

/** Of the only listener, which would get the bytes as they are now. */
function readerOf(socket: Socket): Reader | undefined {
  if (socket.readableFlowing !== true || socket.readableLength > 0) return undefined
  const listeners = socket.rawListeners('data')
  return listeners.length === 1 ? readers.get(listeners[0] as object) : undefined
}

/**
 * Makes a listener to `data` of a socket get the bytes without a copy, for the length of the call, and without the work of
 * a stream for each chunk. So it is called while it is the only listener of a socket that flows. Bytes that another layer
 * reads (TLS, GSSAPI, a socket that was not made here) still come as `data`. For large answers this saves a quarter of the
 * time, most of it garbage collection.
 *
 * @param reader gets them in place of the listener
 */
export function inPlace<Listener extends (bytes: Buffer) => void>(
  listener: Listener,
  reader: Reader = listener,
): Listener {
  readers.set(listener, reader)
  return listener
}
