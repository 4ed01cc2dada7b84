import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const DOOR = join(import.meta.dirname, '..', '..', 'src', 'index.ts')

test('importing the package loads no driver, no SDK, no file format and not even knex', async () => {
  const code = `
    import { registerHooks } from 'node:module'
    const packages = new Set()
    registerHooks({
      resolve(specifier, context, next) {
        const found = next(specifier, context)
        if (found.url.includes('/node_modules/')) packages.add(found.url.split('/node_modules/').at(-1).split('/')[0])
        return found
      },
    })
    await import(${JSON.stringify(DOOR)})
    console.log(JSON.stringify([...packages]))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code])
  assert.deepEqual(JSON.parse(stdout), ['tarn'])
})
