import { type Koffi, loadKoffi } from '../../kerberos/native/load.ts'

/** Linux, <fcntl.h> and <linux/fs.h>. */
const AT_FDCWD = -100
const RENAME_EXCHANGE = 2
/** macOS, <sys/stdio.h>. */
const RENAME_SWAP = 2

/**
 * Exchanges two folders in one step, so that each path always has one of them. Node has no call for that.
 *
 * @returns false where the package koffi is missing, or the system or the file system cannot do it
 */
export async function exchange(one: string, other: string): Promise<boolean> {
  if (process.platform !== 'linux' && process.platform !== 'darwin') return false
  try {
    const koffi = await loadKoffi('mode=overwrite')
    return rename(koffi)(one, other) === 0
  } catch {
    // The caller renames twice instead.
    return false
  }
}

function rename(koffi: Koffi): (one: string, other: string) => unknown {
  const library = koffi.load(null)
  if (process.platform === 'darwin') {
    const swap = library.func('renamex_np', 'int', ['str', 'str', 'uint32'])
    return (one, other) => swap(one, other, RENAME_SWAP)
  }
  const renameat2 = library.func('renameat2', 'int', ['int', 'str', 'int', 'str', 'uint32'])
  return (one, other) => renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
}
