import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { resolveConnection } from '../../../src/stores/resolve.ts'
import { temporaryFolder } from '../../support/folder.ts'

describe('resolveConnection', () => {
  const options = { environment: { POOLSMITH_CONN_SALES: 'postgres://stored' }, cwd: '/' }

  it('parses objects, URIs and JSON, and looks up everything else', async () => {
    assert.equal((await resolveConnection({ type: 'postgres', host: 'object' }, options)).host, 'object')
    assert.equal((await resolveConnection(' postgres://uri', options)).host, 'uri')
    assert.equal((await resolveConnection('{"type": "postgres", "host": "json"}', options)).host, 'json')
    assert.equal((await resolveConnection('sales', options)).host, 'stored')
    assert.equal((await resolveConnection(' sales\n', options)).host, 'stored')
    const environment = { 'POOLSMITH_CONN_TEAM:SALES': 'postgres://team' }
    assert.equal((await resolveConnection('team:sales', { environment })).host, 'team')
  })

  it('rejects, and never throws, what it cannot use', async () => {
    await assert.rejects(resolveConnection('nobody', options), { code: 'CONNECTION_NOT_FOUND' })
    await assert.rejects(resolveConnection('oracle://h', options), { code: 'CONFIG_INVALID' })
    await assert.rejects(resolveConnection('', options), { code: 'CONFIG_INVALID' })
    await assert.rejects(resolveConnection('u:hunter2@h/db', options), (error) => {
      assert.ok(error instanceof Error && !error.message.includes('hunter2'))
      return true
    })
    // Arguments that a caller without types may pass.
    await assert.rejects(resolveConnection(undefined as never, options), { code: 'CONFIG_INVALID' })
  })

  it('says of a reference in a connection where references are given', async () => {
    const environment = { POOLSMITH_CONN_SALES: 'store:sales', POOLSMITH_CONN_LAKE: 'vault:secret/lake' }
    for (const id of ['sales', 'lake', 'store:sales']) {
      await assert.rejects(resolveConnection(id, { environment, cwd: '/' }), {
        code: 'CONFIG_INVALID',
        message: /expected the connection itself, not a reference to a store; give the reference in place of the id/,
      })
    }
  })

  it('loads the YAML package only for a file in YAML', async () => {
    await using folder = await temporaryFolder()
    await writeFile(join(folder.path, 'connections.yaml'), 'filed: postgres://h', { mode: 0o600 })
    const script = `
      import { createRequire } from 'node:module'
      import { resolveConnection } from ${JSON.stringify(import.meta.resolve('../../../src/stores/resolve.ts'))}
      const isLoaded = () => Object.keys(createRequire('/').cache).some((path) => path.includes('/node_modules/'))
      const options = { environment: { POOLSMITH_CONN_SALES: 'postgres://h' }, cwd: ${JSON.stringify(folder.path)} }
      await resolveConnection('sales', options)
      const before = isLoaded()
      await resolveConnection('filed', options)
      console.log(JSON.stringify([before, isLoaded()]))`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script])
    assert.equal(stdout.trim(), '[false,true]')
  })
})
