import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { nodeProblem } from '../../../src/cli/node-version.ts'

test('a version of Node that is too old gives one sentence; the oldest is the one in package.json', async () => {
  const { engines } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'))
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
