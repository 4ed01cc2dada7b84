import { createHash } from 'node:crypto'
import { PoolsmithError } from '../../errors.ts'
import { openOwn } from './own-files.ts'

/**
 * SHA-256 of a file that this user has made, in hexadecimal; undefined when it does not exist, cannot be read, or
 * belongs to another user.
 *
 * @throws PoolsmithError ABORTED
 */
export async function hashOfFile(path: string, signal: AbortSignal): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    signal.throwIfAborted()
    await using file = await openOwn(path)
    for await (const chunk of file.createReadStream({ signal, autoClose: false })) hash.update(chunk as Buffer)
  } catch {
    if (!signal.aborted) return undefined
    throw new PoolsmithError(`Reading ${path} was aborted.`, { code: 'ABORTED', phase: 'write', cause: signal.reason })
  }
  return hash.digest('hex')
}
