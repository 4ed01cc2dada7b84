import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { fetchPins, pinsIn } from '../../../scripts/interop/pins.ts'
import { temporaryFolder } from '../../support/folder.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')

function interop(args: readonly string[], env: NodeJS.ProcessEnv): { code: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join('scripts', 'interop.ts'), ...args], {
    cwd: ROOT,
    env,
    encoding: 'utf8',
    timeout: 60_000,
  })
  return { code: status, output: `${stdout}${stderr}` }
}

test('on a machine without Python and Java it says so, says how to install them, and fails', async () => {
  await using folder = await temporaryFolder()
  const { code, output } = interop(['readers'], { PATH: folder.path, HOME: folder.path })
  assert.equal(code, 1)
  assert.match(output, /this machine lacks Python 3\.11 or later with venv \(.*python3-venv\), and Java 17 or later \(/)
})

test('a program that is too old counts as lacking', async () => {
  await using folder = await temporaryFolder()
  for (const [name, says] of [
    ['python3', 'echo Python 3.9'],
    ['java', `echo 'openjdk version "1.8.0_392"' >&2`],
  ] as const) {
    await writeFile(join(folder.path, name), `#!/bin/sh\n${says}\n`)
    await chmod(join(folder.path, name), 0o755)
  }
  const { code, output } = interop(['readers'], { PATH: [folder.path].join(delimiter), HOME: folder.path })
  assert.equal(code, 1)
  assert.match(output, /lacks Python 3\.11 .* and Java 17/)
})

test('an unknown part fails with the names of the parts', () => {
  const { code, output } = interop(['reader'], { PATH: process.env.PATH })
  assert.equal(code, 1)
  assert.match(output, /reader is no part of test.interop; the parts are .*readers/)
})

test('what is pinned is fetched once, again when a pin changes, and not kept when fetching fails', async () => {
  await using folder = await temporaryFolder()
  const part = join(folder.path, 'part')
  const cache = join(folder.path, 'cache')
  const npm = join(folder.path, 'npm')
  await mkdir(part)
  await writeFile(npm, '#!/bin/sh\necho "$@" >> fetched\ngrep -q good package.json\n')
  await chmod(npm, 0o755)
  await writeFile(join(part, 'package-lock.json'), '{}')
  await writeFile(join(part, 'package.json'), '"good"')
  const fetch = (): string => {
    const [pin] = pinsIn(part)
    assert.equal(pin?.tool, 'npm')
    return fetchPins(pin?.files ?? [], 'npm', { path: npm, version: '11.0' }, cache, (sentence) => {
      throw new Error(sentence)
    })
  }
  const first = fetch()
  assert.equal(fetch(), first)
  assert.equal(await readFile(join(first, 'fetched'), 'utf8'), 'ci --ignore-scripts --no-audit --no-fund\n')
  await writeFile(join(part, 'package.json'), '"good too"')
  assert.notEqual(fetch(), first)
  await writeFile(join(part, 'package.json'), '"bad"')
  assert.throws(fetch, /npm ci --ignore-scripts --no-audit failed; what it says stands above\./)
  assert.throws(fetch, /failed/)
})
