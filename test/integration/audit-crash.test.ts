/** Processes that write an audit log and are killed, run out of space, or are told to open the file anew. */

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, existsSync } from 'node:fs'
import { rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { verifyAudit } from '../../src/audit/index.ts'
import { wholeLinesOf } from '../support/audit.ts'
import { temporaryFolder } from '../support/folder.ts'

const LIMITED = { timeout: 120_000 }
const WRITER = join(import.meta.dirname, '..', 'support', 'audit-writer.ts')
const run = promisify(execFile)

/** @param limit in blocks of 1 KiB: how long its files may become */
function writer(t: TestContext, args: readonly string[], limit?: number) {
  const command = [process.execPath, WRITER, ...args]
  const [program = '', ...rest] =
    limit === undefined ? command : ['bash', '-c', `ulimit -S -f ${limit}; exec "$@"`, 'bash', ...command]
  const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const printed: string[] = []
  const heard = createInterface(child.stdout)
  heard.on('line', (line) => printed.push(line))
  const ended = once(child, 'close')
  return {
    child,
    printed,
    ended,
    /** Resolves when it has printed so much. */
    async until(isEnough: () => boolean): Promise<void> {
      while (!isEnough()) await once(heard, 'line')
    },
  }
}

async function folder(t: TestContext): Promise<string> {
  const made = await temporaryFolder()
  t.after(() => made[Symbol.asyncDispose]())
  return made.path
}

async function* whole(files: readonly string[]): AsyncGenerator<Buffer> {
  for (const file of files) yield* createReadStream(file)
}

/** The numbers that are in the files. */
async function numbersIn(files: readonly string[]): Promise<Set<string>> {
  const lines = (await Promise.all(files.map(wholeLinesOf))).flat()
  return new Set(lines.map(({ place }) => String(place).replace('number-', '')))
}

const answered = (printed: readonly string[]): string[] => printed.filter((line) => /^\d+$/.test(line))

test('required: a process that is killed has answered for no line that is missing', LIMITED, async (t) => {
  const file = join(await folder(t), 'audit.jsonl')
  for (let round = 1; round <= 3; round++) {
    const process = writer(t, [file, 'required', 'chain', '20'])
    await process.until(() => process.printed.length > 200 * round)
    process.child.kill('SIGKILL')
    await process.ended
    const { verdict } = await verifyAudit(whole([file]))
    assert.ok(verdict === 'whole' || verdict === 'truncated', verdict)
  }
  const last = writer(t, [file, 'required', 'chain', '20'])
  await last.until(() => last.printed.length > 200)
  last.child.kill('SIGKILL')
  await last.ended
  const lines = (await wholeLinesOf(file)).map(({ place, action }) => String(place ?? action))
  const numbers = new Set(lines.slice(lines.lastIndexOf('opened')).map((name) => name.replace('number-', '')))
  const missing = answered(last.printed).filter((number) => !numbers.has(number))
  assert.deepEqual(missing, [])
})

for (const mode of ['on', 'required']) {
  test(`${mode}: SIGHUP in the middle of lines, after a rename, loses none and cuts none`, LIMITED, async (t) => {
    const path = await folder(t)
    const file = join(path, 'audit.jsonl')
    const files: string[] = []
    const process = writer(t, [file, mode, 'chain', '10'])
    for (let round = 1; round <= 5; round++) {
      const enough = process.printed.length + 50
      await process.until(() => process.printed.length > enough)
      const older = `${file}.${round}`
      await rename(file, older)
      files.push(older)
      process.child.kill('SIGHUP')
      // It goes on in the renamed file until it has heard the signal.
      while (!existsSync(file)) await sleep(5)
    }
    process.child.stdin.end()
    await process.ended
    const all = [...files, file]
    const { verdict, fault } = await verifyAudit(whole(all))
    assert.deepEqual([verdict, fault], ['whole', undefined])
    const numbers = await numbersIn(all)
    assert.deepEqual(
      answered(process.printed).filter((number) => !numbers.has(number)),
      [],
    )
  })

  test(
    `${mode}: when the file cannot grow, ${mode === 'on' ? 'lines wait' : 'lines fail'}, and once it can, none is missing`,
    LIMITED,
    async (t) => {
      const file = join(await folder(t), 'audit.jsonl')
      const process = writer(t, [file, mode, 'chain', '5'], 16)
      if (mode === 'required') {
        await process.until(() => process.printed.includes('failed AUDIT_FAILED'))
      } else {
        await process.until(() => process.printed.length > 600)
      }
      assert.equal((await stat(file)).size <= 16 * 1024, true)
      await run('prlimit', ['--pid', String(process.child.pid), '--fsize=unlimited:'])
      const before = answered(process.printed).length
      await process.until(() => answered(process.printed).length > before + 50)
      process.child.stdin.end()
      await process.ended
      const { verdict, fault } = await verifyAudit(whole([file]))
      assert.deepEqual([verdict, fault], ['whole', undefined])
      const numbers = await numbersIn([file])
      assert.deepEqual(
        answered(process.printed).filter((number) => !numbers.has(number)),
        [],
      )
      assert.ok((await wholeLinesOf(file)).some(({ action }) => action === 'resumed'))
    },
  )
}
