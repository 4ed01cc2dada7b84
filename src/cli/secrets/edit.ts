/** A secret in an editor: by a file that only this user can read, and that is overwritten and removed whatever ends the program but SIGKILL. */

import { spawn } from 'node:child_process'
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  type Stats,
  writeSync,
} from 'node:fs'
import { lstat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onAbort, within } from '../../abort.ts'
import { errorCode } from '../../any-error.ts'
import { PoolsmithError } from '../../errors.ts'
import { assertTrusted, DistrustedFile, onlyThisUser, readTrusted } from '../../private-file.ts'
import { textOf } from '../../vault/credential-file.ts'
import { type Call, UsageError } from '../command.ts'

const LONGEST_BYTES = 1024 * 1024
const EDITOR_END_MILLIS = 2000

/**
 * The text as the user leaves it in the editor of VISUAL or EDITOR.
 *
 * @param extension of the file, by which editors know its form: `.json`
 * @throws UsageError without an editor, or when it fails; ABORTED
 */
export async function edit(text: string, extension: string, call: Call): Promise<string> {
  const { environment, signal } = call
  const editor = environment.VISUAL || environment.EDITOR
  if (!editor) throw new UsageError('which editor? Set VISUAL or EDITOR.')
  // A folder of mode 0700: editors put their own copies beside the file.
  const folder = mkdtempSync(join(await baseFolder(environment), 'poolsmith-'))
  const remove = (): void => removeFolder(folder)
  process.on('exit', remove)
  try {
    const path = join(folder, `secret${extension}`)
    await writeFile(path, text, { mode: 0o600, flag: 'wx' })
    await runEditor(editor, path, environment, signal)
    const edited = textOf(await editedBytes(path))
    if (edited === undefined) throw new UsageError('the editor left no text in UTF-8; nothing was changed.')
    return edited
  } finally {
    remove()
    process.off('exit', remove)
  }
}

async function editedBytes(path: string): Promise<Buffer> {
  try {
    // An editor may give the file any mode; the folder keeps other users out.
    return await readTrusted(path, { ...onlyThisUser(), maxBytes: LONGEST_BYTES, forbiddenMode: 0 })
  } catch (error) {
    const reason =
      error instanceof DistrustedFile ? error.reason : `cannot be read (${errorCode(error) ?? 'unknown error'})`
    throw new UsageError(`the edited file ${reason}; nothing was changed.`)
  }
}

/** The folder of this user in memory, where the system has one; else the one for temporary files. */
async function baseFolder(environment: Call['environment']): Promise<string> {
  const { XDG_RUNTIME_DIR: runtime, TMPDIR: temporary } = environment
  if (runtime) {
    try {
      assertTrusted(runtime, await lstat(runtime), { ...onlyThisUser(), type: 'folder', forbiddenMode: 0o077 })
      return runtime
    } catch {
      // It is not there, or not for this user alone.
    }
  }
  return temporary || tmpdir()
}

async function runEditor(
  editor: string,
  path: string,
  environment: Call['environment'],
  signal: AbortSignal,
): Promise<void> {
  // By a shell, as git does: EDITOR may have arguments. On Windows, `exec` is unknown.
  const command = process.platform === 'win32' ? `${editor} "${path}"` : `exec ${editor} "$POOLSMITH_EDITED"`
  const child = spawn(command, {
    shell: true,
    stdio: 'inherit',
    env: { ...environment, POOLSMITH_EDITED: path },
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('exit', resolve)
    child.once('error', (error) =>
      reject(new UsageError(`the editor could not be started (${errorCode(error) ?? 'unknown error'}).`)),
    )
  })
  using _ = onAbort(signal, () => child.kill())
  const code = await (signal.aborted ? within(ended, EDITOR_END_MILLIS).catch(() => null) : ended)
  if (signal.aborted) {
    throw new PoolsmithError('Interrupted; nothing was changed.', { code: 'ABORTED', phase: 'credential' })
  }
  if (code !== 0) throw new UsageError(`the editor failed (exit code ${code}); nothing was changed.`)
}

/** Without waiting, since the process may be ending. A link that the editor has left is removed, and not followed. */
function removeFolder(folder: string): void {
  try {
    for (const name of readdirSync(folder)) overwrite(join(folder, name))
  } catch {
    // The editor has removed the folder.
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Windows lacks the flag. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0

function isAlone(stats: Stats): boolean {
  return stats.isFile() && stats.nlink === 1
}

/** Overwrites a file that has this one name alone: one with another link is a file of another place too. */
function overwrite(path: string): void {
  try {
    if (!isAlone(lstatSync(path))) return
    const file = openSync(path, constants.O_RDWR | NO_FOLLOW)
    try {
      const stats = fstatSync(file)
      if (!isAlone(stats)) return
      writeSync(file, Buffer.alloc(stats.size))
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
  } catch {
    // Removing is what counts: a file that cannot be overwritten is removed as it is.
  }
}
