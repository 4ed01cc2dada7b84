import { loadKoffi, type Native } from './load.ts'

const LOCK_EXCLUSIVE = 2
const LOCK_NOT_BLOCKING = 4

interface PosixFunctions {
  readonly flock: Native<[number, number], number>
  readonly exit: Native<[number], void>
  readonly errno: () => number
  readonly wouldBlock: number
}

let loading: Promise<PosixFunctions> | undefined

function loadPosix(neededFor?: string): Promise<PosixFunctions> {
  loading ??= loadKoffi(neededFor).then((koffi) => {
    // The process itself, which contains its C library.
    const library = koffi.load(null)
    return {
      flock: library.func('flock', 'int', ['int', 'int']) as unknown as Native<[number, number], number>,
      exit: library.func('_exit', 'void', ['int']) as unknown as Native<[number], void>,
      errno: () => koffi.errno(),
      wouldBlock: koffi.os.errno.EWOULDBLOCK ?? koffi.os.errno.EAGAIN ?? 11,
    }
  })
  loading.catch(() => {
    loading = undefined
  })
  return loading
}

/**
 * Tries to lock an open file for this process alone (flock(2)). The system gives the lock back when the file is
 * closed, also when the process dies, so that a lock is never stale. Returns false when another process holds it.
 */
export async function tryLockFile(descriptor: number, neededFor?: string): Promise<boolean> {
  const { flock, errno, wouldBlock } = await loadPosix(neededFor)
  if (flock(descriptor, LOCK_EXCLUSIVE | LOCK_NOT_BLOCKING) === 0) return true
  const code = errno()
  if (code === wouldBlock) return false
  throw Object.assign(new Error(`flock failed with errno ${code}`), { errno: code, code: 'EFLOCK' })
}

/**
 * Ends the process at once. `process.exit` first waits for libuv's threads, and one of them may wait half a minute for a
 * KDC that does not answer. Only for the end of a program, after its output is written.
 */
export async function exitAtOnce(code: number): Promise<never> {
  const { exit } = await loadPosix()
  exit(code)
  throw new Error('unreachable')
}
