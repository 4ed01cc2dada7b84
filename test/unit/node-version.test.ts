import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { nodeProblem } from '../../src/node-version.ts'

test('a version of Node that is too old gives one sentence; the oldest is the one in package.json', async () => {
  const { engines } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))
  const oldest = String(engines.node).replace('>=', '')
  for (const version of [oldest, '22.20.1', '24.0.0', process.versions.node])
    assert.equal(nodeProblem(version), undefined)
  for (const version of ['22.11.0', '20.19.4', '8.0.0']) {
    assert.equal(
      nodeProblem(version),
      `poolsmith needs Node.js ${oldest.replace(/\.0$/, '')} or later, and this is ${version}.`,
    )
  }
})

const ROOT = join(import.meta.dirname, '..', '..')

test('on a Node that is too old, the import of every door says which one it needs', async () => {
  const { exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { exports: object }
  const doors = Object.keys(exports).filter((door) => door !== './package.json')
  const program = `
    Object.defineProperty(process.versions, 'node', { value: '20.19.4' })
    for (const door of ${JSON.stringify(doors)}) {
      console.log(await import(door.replace('.', 'poolsmith')).catch(({ code, message }) => code + ' ' + message))
    }`
  const args = [`--import=${join(ROOT, 'test', 'support', 'self-import.ts')}`, '--input-type=module', '-e', program]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT })
  const told = 'CONFIG_INVALID poolsmith needs Node.js 22.12 or later, and this is 20.19.4.\n'
  assert.equal(stdout, told.repeat(doors.length))
})
