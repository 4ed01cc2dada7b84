/** The connections files of the documentation, as a reader copies them. */

import assert from 'node:assert/strict'
import { glob, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { poolsmith } from '../../support/cli-in-process.ts'
import { temporaryFolder } from '../../support/folder.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')
/** A connection of the file, or its list of stores. */
const CONNECTIONS_FILE = /^(?:# connections\.yaml\n|sales:|stores:)/

test('every connections file in docs/ is read without a problem', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'connections.yaml')
  let files = 0
  for await (const page of glob('docs/**/*.md', { cwd: ROOT })) {
    const text = await readFile(join(ROOT, page), 'utf8')
    for (const [, block = ''] of text.matchAll(/^```yaml\n([\s\S]*?)^```/gm)) {
      if (!CONNECTIONS_FILE.test(block)) continue
      files += 1
      // The stores of a file are asked; the connections beside them are what the reader copies.
      await writeFile(path, block.replace(/^stores:\n(?: .*\n)*/, ''), { mode: 0o600 })
      const { code, out } = await poolsmith(['connections', '--json', '--connections', path])
      assert.equal(code, 0, `${page}: ${out}`)
      for (const { id, problems } of JSON.parse(out).connections) assert.deepEqual(problems, [], `${page}: ${id}`)
    }
  }
  assert.ok(files >= 10, `only ${files} files were found`)
})
