/** `poolsmith secrets` as a process of its own: on a terminal, and ended by signals. */

import assert from 'node:assert/strict'
import { chmod, type FileHandle, mkdir, open as openFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type CliOptions, type CliRun, runCli } from '../../support/cli.ts'
import { temporaryFolder } from '../../support/folder.ts'

const VALUE = 'the-secret-value'
const signal = AbortSignal.timeout(120_000)

/** A file with the secret `sales#password`. */
async function startSecrets() {
  const folder = await temporaryFolder()
  const path = (name: string): string => join(folder.path, name)
  await mkdir(path('tmp'))
  const environment = {
    POOLSMITH_SECRETS_FILE: path('secrets'),
    POOLSMITH_SECRETS_KEY: Buffer.alloc(32, 7).toString('base64'),
    TMPDIR: path('tmp'),
  }
  const run = (args: readonly string[], { environment: more, ...options }: CliOptions = {}): Promise<CliRun> =>
    runCli(['secrets', ...args], { environment: { ...environment, ...more }, ...options })
  return { path, run, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

const typing = (...texts: readonly [string, string]): CliOptions => ({
  terminal: true,
  typed: [
    [/Value \(not shown\): /, texts[0]],
    [/Again: /, texts[1]],
  ],
})

test('a key to validate is asked for once, since it is not kept', async () => {
  await using secrets = await startSecrets()
  const environment = {
    POOLSMITH_SECRETS_FILE: secrets.path('secrets'),
    POOLSMITH_SECRETS_KEY: Buffer.alloc(32, 7).toString('base64'),
    POOLSMITH_API_KEYS: 'encrypted:api-keys',
  }
  const made = await runCli(['api-keys', 'generate', 'billing', '--show'], { environment })
  const { code, stdout } = await runCli(['api-keys', 'validate'], {
    environment,
    terminal: true,
    // The second one would end a second question.
    typed: [
      [/Value \(not shown\): /, `${made.stdout}\r`],
      [/Again: /, '\x04'],
    ],
  })
  assert.match(stdout, /billing, version 1/)
  assert.equal(code, 0, stdout)
})

test('a value that is typed is not shown, and a value is shown on a terminal only on demand', async () => {
  await using secrets = await startSecrets()
  const { run } = secrets
  const typed = await run(['set', 'sales#password'], typing(`${VALUE}\r`, `${VALUE}\r`))
  assert.equal(typed.code, 0, typed.stdout)
  assert.match(typed.stdout, /encrypted:sales#password is written/)
  assert.ok(!typed.stdout.includes('secret-value'), typed.stdout)
  const refused = await run(['get', 'sales#password'], { terminal: true })
  assert.equal(refused.code, 2)
  assert.match(refused.stdout, /Add --show/)
  assert.ok(!refused.stdout.includes(VALUE))
  const json = await run(['get', 'sales#password', '--json'], { terminal: true })
  assert.deepEqual([json.code, json.stdout.includes(VALUE)], [2, false])
  const shown = await run(['get', 'sales#password', '--show'], { terminal: true })
  assert.match(shown.stdout, /^the-secret-value\r?\n$/)
  assert.equal((await run(['get', 'sales#password'])).stdout, `${VALUE}\n`)
  assert.equal((await run(['new-key'], { terminal: true })).code, 2)
})

test('two values that differ, and Ctrl-C, change nothing', async () => {
  await using secrets = await startSecrets()
  const { run, path } = secrets
  const differing = await run(['set', 'sales#password'], typing('one\r', 'two\r'))
  assert.equal(differing.code, 2)
  assert.match(differing.stdout, /the two values differ; nothing was changed/)
  const interrupted = await run(['set', 'sales#password'], typing(`${VALUE}\r`, '\x03'))
  assert.equal(interrupted.code, 130)
  assert.ok(!interrupted.stdout.includes(VALUE))
  assert.deepEqual(await readdir(path('.')), ['tmp'])
})

for (const [name, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
  ['SIGHUP', 129],
] as const) {
  test(`${name} during an edit ends the editor, and overwrites and removes its file`, async () => {
    await using secrets = await startSecrets()
    const { run, path } = secrets
    assert.equal((await run(['set', 'sales#password'], typing(`${VALUE}\r`, `${VALUE}\r`))).code, 0)
    const before = await readFile(path('secrets'), 'utf8')
    const editor = path('editor')
    const body = `echo changed >> "$1"; touch '${path('ready')}'; exec sleep 600`
    await writeFile(editor, `#!/bin/sh\n${body}\n`)
    await chmod(editor, 0o755)
    // An open file still shows what is in it when its name is gone.
    let open: FileHandle | undefined
    const isReady = async (): Promise<void> => {
      while (!(await readdir(path('.'))).includes('ready')) {
        signal.throwIfAborted()
        await sleep(20)
      }
      const [folder = ''] = await readdir(path('tmp'))
      open = await openFile(join(path('tmp'), folder, 'secret.txt'))
    }
    const edited = await run(['edit', 'sales#password'], {
      environment: { EDITOR: `'${editor}'` },
      interrupt: { when: isReady(), signal: name },
    })
    assert.equal(edited.code, code, edited.stderr)
    assert.match(edited.stderr, /interrupted/)
    assert.deepEqual(await readdir(path('tmp')), [])
    await using file = open
    const left = await file?.readFile()
    assert.ok(left !== undefined && left.length > VALUE.length, 'the file was there')
    assert.ok(
      left.every((byte) => byte === 0),
      left.toString('utf8'),
    )
    assert.equal(await readFile(path('secrets'), 'utf8'), before)
  })
}
