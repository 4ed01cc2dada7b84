import { statSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** A Unix socket's path has at most 107 bytes, of which a test's folders and PostgreSQL's name for it take up to 60. */
const LONGEST_ROOT = 45

/**
 * Where temporary folders are made: the system's place for them, or `/tmp` where that would not serve a server: its path
 * is too long for a Unix socket, has signs that configuration files read as their own, or leads through a folder that
 * root alone enters, which runs servers as somebody else.
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

/** A fresh private folder below {@link temporaryRoot}; gone with everything in it on dispose. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(temporaryRoot(), 'poolsmith-'))
  await chmod(path, 0o700)
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}
