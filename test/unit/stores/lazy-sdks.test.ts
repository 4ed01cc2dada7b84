/** The SDK of a cloud's store is loaded by a program that uses this store, and by no other. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const SELF_IMPORT = join(ROOT, 'test', 'support', 'self-import.ts')

/** Stands in place of the stores, and is none, which ends each attempt at once. */
const server = createServer((_request, response) => void response.end('<html>'))
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
after(() => void server.close())

const AWS = {
  region: 'eu-west-1',
  aws_endpoint_url: address,
  aws_access_key_id: 'AKIATEST',
  aws_secret_access_key: 'secret',
}

const AZURE = { tenant_id: 'tenant', client_id: 'app', client_secret: 'secret' }

const SDKS = [
  '@aws-sdk/client-secrets-manager',
  '@aws-sdk/client-ssm',
  '@azure/keyvault-secrets',
  'google-auth-library',
]

/** The SDKs that a program loads which wants a session with these options. */
async function loadedBy(extra: Readonly<Record<string, unknown>>): Promise<readonly string[]> {
  const program = `
    import { registerHooks } from 'node:module'
    const loaded = new Set()
    registerHooks({
      resolve(specifier, context, next) {
        loaded.add(specifier)
        return next(specifier, context)
      },
    })
    const { createEngine } = await import('poolsmith')
    const extra = JSON.parse(process.argv[1])
    const db = await createEngine(
      { type: 'postgres', host: '127.0.0.1', port: 1, login: 'etl', database: 'sales', extra },
      { stores: { environment: { SALES: 'x' } } },
    )
    await db.raw('select 1').catch(() => undefined)
    await db.destroy()
    console.log(JSON.stringify([...loaded]))`
  const args = [`--import=${SELF_IMPORT}`, '--input-type=module', '-e', program, JSON.stringify(extra)]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT })
  const loaded = new Set(JSON.parse(stdout) as string[])
  return SDKS.filter((sdk) => loaded.has(sdk))
}

const USED: readonly (readonly [reference: string, options: object, sdks: readonly string[]])[] = [
  ['env:SALES', {}, []],
  ['aws-sm:prod/sales#password', AWS, ['@aws-sdk/client-secrets-manager']],
  ['aws-ssm:/prod/sales', AWS, ['@aws-sdk/client-ssm']],
  [`azure-kv:${address.replace('http:', 'https:')}/sales`, AZURE, ['@azure/keyvault-secrets']],
  ['gcp-sm:sales-prod/db', { google_credentials_file: '/not/there' }, ['google-auth-library']],
]

for (const [reference, options, sdks] of USED) {
  test(`a connection with ${reference} loads ${sdks.join(', ') || 'no SDK'}`, async () => {
    assert.deepEqual(await loadedBy({ password_from: reference, ...options }), sdks)
  })
}
