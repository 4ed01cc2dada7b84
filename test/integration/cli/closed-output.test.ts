/** Outputs that take no more: `poolsmith ... | head`, and a full disk. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { PHASE_EXIT_CODES } from '../../../src/cli/exit-codes.ts'

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'cli', 'main.ts')

/** Its exit code, where one of its outputs is closed before it has said a word. */
async function exitCode(args: readonly string[], closed: 'stdout' | 'stderr'): Promise<unknown> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { PATH: process.env.PATH } })
  child[closed].destroy()
  child[closed === 'stdout' ? 'stderr' : 'stdout'].resume()
  const [code] = await once(child, 'close')
  return code
}

test('a result without a reader is no failure', async () => {
  assert.equal(await exitCode(['--help'], 'stdout'), 0)
})

test('a closed stderr changes nothing', async () => {
  assert.equal(await exitCode(['check', 'no-such-connection'], 'stderr'), PHASE_EXIT_CODES.config)
})

test('a full disk under standard output is one sentence and the exit code of the phase write', async () => {
  // /dev/full of Linux answers each write as a full disk does.
  const shell = spawn('sh', ['-c', `exec "${process.execPath}" "${MAIN}" --help > /dev/full`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const [told, [code]] = await Promise.all([text(shell.stderr), once(shell, 'close')])
  assert.match(told, /^poolsmith: standard output cannot be written: ENOSPC[^\n]*\n$/)
  assert.equal(code, PHASE_EXIT_CODES.write)
})
