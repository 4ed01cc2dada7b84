import type { Socket } from 'node:net'
import { PoolsmithError } from '../../errors.ts'
import { loadKoffi } from '../../kerberos/native/load.ts'

/** Linux, <sys/socket.h>; the same on every processor that Node is built for. */
const SOL_SOCKET = 1
const SO_PEERCRED = 17
/** struct ucred: pid, uid, gid, 32 bits each. */
const UCRED_BYTES = 12
const UID_OFFSET = 4

/**
 * Holds the process at the other end of a Unix socket to one user of the operating system, as libpq's `requirepeer` does.
 *
 * @throws PoolsmithError PEER_MISMATCH; PACKAGE_MISSING without koffi
 */
export async function assertPeerUser(socket: Socket, required: string, path: string): Promise<void> {
  const actual = await peerUser(socket)
  if (actual === required) return
  const whose = actual === undefined ? 'a user that cannot be determined' : `the user ${actual}`
  throw new PoolsmithError(`The server at ${path} runs as ${whose}, and requirepeer asks for ${required}.`, {
    code: 'PEER_MISMATCH',
    phase: 'connect',
    hint: 'Do not log in to this server unless it is the one that is meant; then set requirepeer to its user.',
    details: { path, required, actual },
  })
}

async function peerUser(socket: Socket): Promise<string | undefined> {
  const descriptor = descriptorOf(socket)
  if (descriptor === undefined) return undefined
  const koffi = await loadKoffi('requirepeer')
  // The process itself, which has the C library loaded.
  const library = koffi.load(null)
  const uid = process.platform === 'linux' ? uidOnLinux() : uidByGetpeereid()
  if (uid === undefined) return undefined
  // The first member of struct passwd is the name, on every system.
  const found: unknown = library.func('getpwuid', 'void *', ['uint32'])(uid)
  return found === null ? undefined : String(koffi.decode(found, 'char *'))

  function uidOnLinux(): number | undefined {
    const bytes = Buffer.alloc(UCRED_BYTES)
    const length = Buffer.alloc(4)
    length.writeUInt32LE(UCRED_BYTES)
    const getsockopt = library.func('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *'])
    const result: unknown = getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, bytes, length)
    return result === 0 ? bytes.readUInt32LE(UID_OFFSET) : undefined
  }

  /** macOS and the BSDs. */
  function uidByGetpeereid(): number | undefined {
    const [uid, gid] = [Buffer.alloc(4), Buffer.alloc(4)]
    const result: unknown = library.func('getpeereid', 'int', ['int', 'void *', 'void *'])(descriptor, uid, gid)
    return result === 0 ? uid.readUInt32LE() : undefined
  }
}

/** A part of Node that it does not document: the number by which the system knows the socket. */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle')
  const descriptor: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  return typeof descriptor === 'number' && descriptor >= 0 ? descriptor : undefined
}
