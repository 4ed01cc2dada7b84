import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { temporaryFolder } from '../support/folder.ts'

const DEMO = join(import.meta.dirname, '..', '..', 'scripts', 'demo.ts')

/** Runs the demo in a temporary folder of its own and interrupts it when its output matches, as Ctrl-C does. */
async function runDemo(interruptAt?: RegExp): Promise<{ code: number | null; output: string; left: string[] }> {
  await using folder = await temporaryFolder()
  // The server's account has to get through.
  await chmod(folder.path, 0o755)
  const env = { ...process.env, TMPDIR: folder.path }
  const child = spawn(process.execPath, [DEMO], { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let seen = ''
  const watch = (chunk: Buffer): void => {
    seen += chunk
    if (child.pid === undefined || !interruptAt?.test(seen)) return
    child.stdout.off('data', watch)
    // The whole process group, as a terminal does: the server gets it too.
    process.kill(-child.pid, 'SIGINT')
  }
  child.stdout.on('data', watch)
  const closed = once(child, 'close') as Promise<[number | null]>
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), closed])
  // No process is left in the group: signal 0 only asks.
  assert.throws(() => process.kill(-Number(child.pid), 0), { code: 'ESRCH' })
  return { code, output: stdout + stderr, left: await readdir(folder.path) }
}

test('the demo shows both logins as the server sees them, and writes the whole table into a file', async () => {
  const { code, output, left } = await runDemo()
  assert.equal(code, 0, output)
  assert.match(output, /authenticated scram-sha-256:etl\n/)
  assert.match(output, /authenticated cert:CN=reporting\n/)
  assert.match(output, /read back {5}3,000,000 rows/)
  assert.doesNotMatch(output, /correct horse/)
  assert.deepEqual(left, [])
})

for (const [when, pattern] of Object.entries({
  'while its server is young': /PostgreSQL \d+\.\d+ at/,
  'while it loads': /A real table/,
  'while it extracts': /The table as Parquet/,
})) {
  test(`the demo interrupted ${when} leaves no file and no process`, async () => {
    const { code, output, left } = await runDemo(pattern)
    assert.equal(code, 130, output)
    assert.match(output, /Interrupted; everything is tidied up\.\n$/)
    assert.deepEqual(left, [])
  })
}
