import { stat } from 'node:fs/promises'
import { PoolsmithError } from '../errors.ts'
import { shownPath } from '../plausible-path.ts'

/**
 * Refuses a pipe or a device in place of a file that an SDK reads: it would wait for the writer of a pipe, on a thread
 * that nothing ends, not even the end of the process.
 *
 * @param option names the file: the option, or the variable of the environment
 * @throws PoolsmithError CREDENTIAL_FAILED; a file that is missing is left to the SDK
 */
export async function assertTokenFile(path: string, option: string): Promise<void> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined || stats.isFile()) return
  throw new PoolsmithError(`The token file ${shownPath(path)} is not a regular file.`, {
    code: 'CREDENTIAL_FAILED',
    phase: 'credential',
    hint: `Check the path in ${option}.`,
    details: { file: shownPath(path) },
  })
}
