import { statSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** A Unix socket's path has at most 107 bytes, of which a test's folders and PostgreSQL's name for it take up to 60. */
const LONGEST_ROOT = 45

/**
 * The parent of temporary folders: the system's, or `/tmp` where a server could not use that one: its path is too long
 * for a Unix socket, has characters that are special in configuration files, or leads through a folder that only root
 * may enter (root runs servers under another account).
 */
export function temporaryRoot(): string {
  const root = tmpdir()
  const serves = root.length <= LONGEST_ROOT && /^[\w./-]+$/.test(root) && (process.getuid?.() !== 0 || isPublic(root))
  return serves || process.platform === 'win32' ? root : '/tmp'
}

function isPublic(path: string): boolean {
  const mayEnter = (statSync(path).mode & 0o001) !== 0
  return mayEnter && (path === dirname(path) || isPublic(dirname(path)))
}

/** A fresh private folder below {@link temporaryRoot}; disposing deletes it. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(temporaryRoot(), 'poolsmith-'))
  await chmod(path, 0o700)
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}
